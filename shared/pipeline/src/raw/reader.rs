//! Reads fields out of the spanned TOML document, and goes on after every mistake.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::SqlPlace;
use crate::error::{PipelineError, code};
use crate::raw::expand::{Fault, expand};
use crate::raw::literal;
use crate::raw::section::{Kind, Section};
use crate::raw::{Field, Given, Named, RawColumn};

pub(super) struct Reader<'a> {
    /// The file.
    pub(super) text: &'a str,
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    pub(super) errors: &'a mut Vec<PipelineError>,
}

impl Reader<'_> {
    pub(super) fn refuse_unknown_keys(&mut self, table: &DeTable<'_>, section: &Section) {
        for (key, _) in table {
            if !section.kind.keys().contains(&key.get_ref().as_ref()) {
                self.errors.push(
                    PipelineError::new(code::UNKNOWN_KEY, format!("{section} has no key `{key}`"))
                        .at(key.span(), "unknown key")
                        .help(section.kind.unknown_key_help(key.get_ref())),
                );
            }
        }
    }

    pub(super) fn wrong_type(
        &mut self,
        what: &str,
        at: Range<usize>,
        found: &DeValue<'_>,
        wanted: &str,
        help: &str,
    ) {
        let found = type_name(found);
        self.errors.push(
            PipelineError::new(code::WRONG_TYPE, format!("{what} is {found}, not {wanted}"))
                .at(at, found)
                .help(help),
        );
    }

    /// A text, with its variables expanded.
    pub(super) fn text(
        &mut self,
        table: &DeTable<'_>,
        section: &Section,
        key: &str,
    ) -> Field<String> {
        self.string(table, section, key, |found| match found {
            DeValue::Array(_) | DeValue::Table(_) => format!("write `{key} = \"…\"`"),
            scalar => format!("put it in quotes: `{key} = \"{}\"`", scalar_text(scalar)),
        })
    }

    /// A text, or a list of texts, with their variables expanded.
    pub(super) fn texts(
        &mut self,
        table: &DeTable<'_>,
        section: &Section,
        key: &str,
    ) -> Field<Vec<Given<String>>> {
        let Some((key_at, value)) = entry(table, section.kind, key) else { return Field::Absent };
        let at = value.span();
        let items = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let mut texts = Vec::new();
        let mut all_right = true;
        for item in items {
            let DeValue::String(text) = item.get_ref() else {
                let what = format!("`{key}` of {section}");
                let help = format!("write `{key} = \"NAME\"` or `{key} = [\"NAME\", \"OTHER\"]`");
                self.wrong_type(&what, item.span(), item.get_ref(), "text", &help);
                all_right = false;
                continue;
            };
            match self.expanded(text, item.span()) {
                Some(value) => {
                    texts.push(Given { key: key_at.clone(), at: item.span(), value });
                }
                None => all_right = false,
            }
        }
        match all_right {
            true => Field::Given(Given { key: key_at, at, value: texts }),
            false => Field::Wrong,
        }
    }

    /// The text of a duration, with its variables expanded.
    pub(super) fn duration(
        &mut self,
        table: &DeTable<'_>,
        section: &Section,
        key: &str,
    ) -> Field<String> {
        self.string(table, section, key, |found| match found {
            DeValue::Integer(n) => {
                format!("give it a unit and quotes: `{key} = \"{n}s\"` or `{key} = \"{n}ms\"`")
            }
            _ => format!("write a number with its unit in quotes: `{key} = \"5s\"`"),
        })
    }

    fn string(
        &mut self,
        table: &DeTable<'_>,
        section: &Section,
        key: &str,
        help: impl Fn(&DeValue<'_>) -> String,
    ) -> Field<String> {
        let Some((key_at, value)) = entry(table, section.kind, key) else { return Field::Absent };
        match value.get_ref() {
            DeValue::String(text) => match self.expanded(text, value.span()) {
                Some(text) => Field::Given(Given { key: key_at, at: value.span(), value: text }),
                None => Field::Wrong,
            },
            other => {
                let what = format!("`{key}` of {section}");
                self.wrong_type(&what, value.span(), other, "text", &help(other));
                Field::Wrong
            }
        }
    }

    /// The SQL of a query: its variables are not expanded, because SQL may hold `$`.
    pub(super) fn sql(
        &mut self,
        table: &DeTable<'_>,
        section: &Section,
    ) -> Field<(String, SqlPlace)> {
        let Some((key, value)) = entry(table, section.kind, "sql") else { return Field::Absent };
        let at = value.span();
        match value.get_ref() {
            DeValue::String(_) => {
                let (sql, bytes) = literal::decode(self.text, at.clone());
                let place = SqlPlace { value: at.clone(), bytes };
                Field::Given(Given { key, at, value: (sql, place) })
            }
            other => {
                let what = format!("`sql` of {section}");
                self.wrong_type(&what, at, other, "text", "write `sql = \"\"\"SELECT …\"\"\"`");
                Field::Wrong
            }
        }
    }

    /// The sections `[PLURAL.NAME]` of one kind, in the file's order.
    pub(super) fn sections<T>(
        &mut self,
        root: &DeTable<'_>,
        kind: Kind,
        read: impl Fn(&mut Self, &DeTable<'_>, &Section) -> T,
    ) -> Field<Vec<Named<T>>> {
        let plural = kind.plural();
        let help = format!("write a section `[{plural}.NAME]` for each {}", kind.singular());
        let Some((key, value)) = entry(root, Kind::Top, plural) else { return Field::Absent };
        let at = value.span();
        let DeValue::Table(entries) = value.get_ref() else {
            let what = format!("`{plural}`");
            self.wrong_type(&what, at, value.get_ref(), "a group of sections", &help);
            return Field::Wrong;
        };
        let mut sections = Vec::new();
        let mut all_wrong = !entries.is_empty();
        for (name, value) in in_file_order(entries) {
            let DeValue::Table(table) = value.get_ref() else {
                let what = format!("`{plural}.{name}`");
                self.wrong_type(&what, value.span(), value.get_ref(), "a section", &help);
                continue;
            };
            all_wrong = false;
            let section = Section::new(kind, name.get_ref());
            self.refuse_unknown_keys(table, &section);
            let value = read(self, table, &section);
            sections.push(Named { name: name.get_ref().to_string(), at: name.span(), value });
        }
        if all_wrong { Field::Wrong } else { Field::Given(Given { key, at, value: sections }) }
    }

    /// `columns`, in the file's order.
    pub(super) fn columns(
        &mut self,
        table: &DeTable<'_>,
        section: &Section,
    ) -> Field<Vec<Named<RawColumn>>> {
        let help = "write `columns = { NAME = \"TYPE\", … }`";
        let Some((key, value)) = entry(table, section.kind, "columns") else {
            return Field::Absent;
        };
        let at = value.span();
        let DeValue::Table(entries) = value.get_ref() else {
            let what = format!("`columns` of {section}");
            self.wrong_type(&what, at, value.get_ref(), "a table of columns", help);
            return Field::Wrong;
        };
        let mut columns = Vec::new();
        for (name, value) in in_file_order(entries) {
            let section = section.column(name.get_ref());
            let column = match value.get_ref() {
                DeValue::String(text) => {
                    RawColumn::of_type(match self.expanded(text, value.span()) {
                        Some(text) => {
                            Field::Given(Given { key: name.span(), at: value.span(), value: text })
                        }
                        None => Field::Wrong,
                    })
                }
                DeValue::Table(table) if is_nested_name(table) => {
                    self.nested_name(name, table, &section);
                    RawColumn::of_type(Field::Wrong)
                }
                DeValue::Table(table) => {
                    self.refuse_unknown_keys(table, &section);
                    RawColumn {
                        data_type: self.text(table, &section, "type"),
                        path: self.text(table, &section, "path"),
                        format: self.text(table, &section, "format"),
                        time_zone: self.text(table, &section, "time_zone"),
                    }
                }
                other => {
                    let help = format!("write `{name} = \"TYPE\"`, such as `{name} = \"int\"`");
                    self.wrong_type(&section.to_string(), value.span(), other, "a type", &help);
                    RawColumn::of_type(Field::Wrong)
                }
            };
            let name_at = name.span();
            columns.push(Named { name: name.get_ref().to_string(), at: name_at, value: column });
        }
        Field::Given(Given { key, at, value: columns })
    }

    /// `properties`, in the file's order.
    pub(super) fn properties(
        &mut self,
        table: &DeTable<'_>,
        section: &Section,
    ) -> Field<Vec<Named<Given<String>>>> {
        let Some((key, value)) = entry(table, section.kind, "properties") else {
            return Field::Absent;
        };
        let at = value.span();
        let DeValue::Table(entries) = value.get_ref() else {
            let what = format!("`properties` of {section}");
            let help = "write `properties = { \"NAME\" = \"VALUE\", … }`";
            self.wrong_type(&what, at, value.get_ref(), "a table of settings", help);
            return Field::Wrong;
        };
        let mut properties = Vec::new();
        for (name, value) in in_file_order(entries) {
            let text = match value.get_ref() {
                DeValue::String(text) => self.expanded(text, value.span()),
                other => {
                    let help = match other {
                        DeValue::Table(inner) => {
                            let inner = inner.keys().next().map_or("…", |key| key.get_ref());
                            format!("put the whole name in quotes: `\"{name}.{inner}\" = \"…\"`")
                        }
                        DeValue::Array(_) => format!("write `\"{name}\" = \"…\"`"),
                        scalar => {
                            let text = scalar_text(scalar);
                            format!("put it in quotes: `\"{name}\" = \"{text}\"`")
                        }
                    };
                    let what = format!("property `{name}` of {section}");
                    self.wrong_type(&what, value.span(), other, "text", &help);
                    None
                }
            };
            if let Some(text) = text {
                let given = Given { key: name.span(), at: value.span(), value: text };
                let name_at = name.span();
                properties.push(Named {
                    name: name.get_ref().to_string(),
                    at: name_at,
                    value: given,
                });
            }
        }
        Field::Given(Given { key, at, value: properties })
    }

    /// Refuses `user.id = "string"`, which TOML reads as a table `user` that has an `id`.
    fn nested_name(
        &mut self,
        name: &Spanned<Cow<'_, str>>,
        table: &DeTable<'_>,
        section: &Section,
    ) {
        let inner = table.keys().next().map_or("", |key| key.get_ref().as_ref());
        let message = format!("{section} has no `type`");
        self.errors.push(
            PipelineError::new(code::MISSING_KEY, message).at(name.span(), "no `type`").help(
                format!(
                    "for a member of a nested record, write \
                     `{name}_{inner} = {{ type = \"TYPE\", path = \"{name}.{inner}\" }}`"
                ),
            ),
        );
    }

    /// `text`, which stands at `at`, with its variables expanded; `None` when one is wrong.
    fn expanded(&mut self, text: &str, at: Range<usize>) -> Option<String> {
        let faults = match expand(text, self.env) {
            Ok(text) => return Some(text),
            Err(faults) => faults,
        };
        let (_, bytes) = literal::decode(self.text, at);
        for (range, fault) in faults {
            let place = literal::place(&bytes, range);
            self.errors.push(match fault {
                Fault::Unset(name) => PipelineError::new(
                    code::UNSET_VARIABLE,
                    format!("the environment variable `{name}` is not set"),
                )
                .at(place, "not set")
                .help(format!(
                    "set it, such as by `export {name}=…`, or give it a default: `${{{name}:-…}}`; \
                     to mean the text itself, write `$${{{name}}}`"
                )),
                Fault::DefaultVaries(name) => PipelineError::new(
                    code::BAD_VARIABLE,
                    format!("the default of the variable `{name}` has a variable itself"),
                )
                .at(place, "not a plain text")
                .help(format!("write a plain text without `${{`: `${{{name}:-…}}`")),
                Fault::Malformed => PipelineError::new(
                    code::BAD_VARIABLE,
                    "`${` must be followed by the name of a variable and `}`",
                )
                .at(place, "no variable")
                .help(
                    "write `${NAME}` with letters, digits and `_`, or `${NAME:-default}`; to mean \
                     the text `${`, write `$${`",
                ),
            });
        }
        None
    }
}

/// The value of `key`, with the key's place. A mistyped key, which has been refused as unknown,
/// stands for the key that it means, so that its value is checked too and nothing seems missing.
pub(super) fn entry<'t, 'i>(
    table: &'t DeTable<'i>,
    kind: Kind,
    key: &str,
) -> Option<(Range<usize>, &'t Spanned<DeValue<'i>>)> {
    let means_key = |typed: &str| kind.means(typed) == Some(key);
    let found = table
        .get_key_value(key)
        .or_else(|| table.iter().find(|(typed, _)| means_key(typed.get_ref())));
    found.map(|(key, value)| (key.span(), value))
}

/// Whether a column is a table with other keys than a column's.
fn is_nested_name(table: &DeTable<'_>) -> bool {
    let has = |key: &str| entry(table, Kind::Column, key).is_some();
    !table.is_empty() && !has("type") && !has("path")
}

type Entry<'t, 'i> = (&'t Spanned<Cow<'i, str>>, &'t Spanned<DeValue<'i>>);

fn in_file_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<Entry<'t, 'i>> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn scalar_text(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(n) => n.to_string(),
        DeValue::Float(n) => n.to_string(),
        DeValue::Boolean(b) => b.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::String(_) | DeValue::Array(_) | DeValue::Table(_) => "…".to_owned(),
    }
}
