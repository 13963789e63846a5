//! What the documents show can be run: every SQL block of `docs/sql.md` and `docs/migrating.md` is
//! planned against the pipeline at the top of the former, and every pipeline of `examples/` is read and planned.
//!
//! A block says what stands beside it in the query's section: ```` ```sql with keep = "1d" ````.
//! One that the document calls refused (```` ```sql refused CODE ````) must be refused with
//! that code. Links between documents lead to a file and a heading.

use std::fs;
use std::path::{Path, PathBuf};

use tidemill_pipeline::Pipeline;
use tidemill_plan::{PlanErrors, explain, plan};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A fenced block: what stands after the fence, its text, and its first line's number.
pub(crate) struct Block {
    pub(crate) info: String,
    pub(crate) text: String,
    line: usize,
}

pub(crate) fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in document.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                let info = info.trim().to_string();
                open = Some(Block { info, text: String::new(), line: index + 2 });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    blocks
}

fn read(text: &str, folder: &Path) -> Pipeline {
    let file = folder.join("pipeline.toml");
    fs::write(&file, text).unwrap();
    tidemill_pipeline::load(&file, &|_| None).unwrap_or_else(|error| panic!("{error:?}\n{text}"))
}

fn codes(errors: &PlanErrors) -> Vec<String> {
    errors.errors.iter().map(|error| error.code().to_string()).collect()
}

#[test]
fn every_query_of_the_sql_reference_plans_or_is_refused_as_it_says() {
    let document = fs::read_to_string(root().join("docs/sql.md")).unwrap();
    let blocks = blocks(&document);
    let of = |info: &str| blocks.iter().find(|block| block.info == info);
    let pipeline = &of("toml").expect("the document has a pipeline").text;
    let table = &of("csv").expect("the document has a table").text;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("products.csv"), table).unwrap();

    let migrating = fs::read_to_string(root().join("docs/migrating.md")).unwrap();
    let migrating = self::blocks(&migrating);
    let of_sql = blocks.iter().map(|block| ("docs/sql.md", block));
    let all = of_sql.chain(migrating.iter().map(|block| ("docs/migrating.md", block)));
    let (mut planned, mut refused) = (0, 0);
    for (file, block) in all.filter(|(_, block)| block.info.starts_with("sql")) {
        let at = format!("{file}:{}", block.line);
        assert!(!block.text.contains("'''"), "{at}: the SQL cannot be put into TOML");
        let options = block.info.strip_prefix("sql with ").unwrap_or_default();
        let text = format!("{pipeline}\n[queries.q]\n{options}\nsql = '''\n{}'''\n", block.text);
        let result = plan(&read(&text, folder.path()));
        match (block.info.strip_prefix("sql refused "), result) {
            (None, Ok(plan)) => {
                assert!(!explain(&plan.queries[0]).is_empty());
                planned += 1;
            }
            (Some(code), Err(errors)) => {
                assert_eq!(codes(&errors), [code], "{at}");
                refused += 1;
            }
            (None, Err(errors)) => {
                panic!("{at}: {:?}", miette::Report::new(errors))
            }
            (Some(code), Ok(_)) => {
                panic!("{at}: planned, but should be refused: {code}")
            }
        }
    }
    assert!(planned >= 30 && refused >= 12, "planned={planned} refused={refused}");
}

#[test]
fn every_example_plans() {
    let mut examples = 0;
    for folder in fs::read_dir(root().join("examples")).unwrap() {
        let folder = folder.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let file = folder.join("pipeline.toml");
        let pipeline =
            tidemill_pipeline::load(&file, &|_| None).unwrap_or_else(|error| panic!("{error:?}"));
        plan(&pipeline).unwrap_or_else(|error| panic!("{:?}", miette::Report::new(error)));
        examples += 1;
    }
    assert!(examples > 0);
}

/// Text without its fenced blocks.
fn prose(document: &str) -> String {
    let mut fenced = false;
    let mut lines = String::new();
    for line in document.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines += line;
            lines.push('\n');
        }
    }
    lines
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(document: &str) -> Vec<String> {
    let headings = prose(document);
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let text = line.trim_start_matches('#').trim().to_lowercase();
            let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            documents(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = root();
    let mut found = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    documents(&root.join("docs"), &mut found);
    documents(&root.join("examples"), &mut found);
    let mut links = 0;
    for document in &found {
        let text = prose(&fs::read_to_string(document).unwrap());
        let targets = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => document.clone(),
                file => document.parent().unwrap().join(file),
            };
            assert!(path.exists(), "{}: no file {target}", document.display());
            let known = anchor.is_empty()
                || anchors(&fs::read_to_string(&path).unwrap()).iter().any(|it| it == anchor);
            assert!(known, "{}: no heading {target}", document.display());
            links += 1;
        }
    }
    assert!(links > 30, "only {links} links were found");
}
