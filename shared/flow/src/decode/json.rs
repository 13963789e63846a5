//! JSON records: where in a record the wanted values are.
//!
//! A reader of its own and no serde visitor, because of what is asked of it: the own text of
//! objects, arrays and numbers, a bound on nesting in skipped members too, the byte at which
//! something is wrong, the last of two members of one name. It is faster besides: the records of a
//! stream have the same members in the same order, so that all between two values (`,"user_id":`)
//! is remembered of the record before and compared as a whole.
//!
//! # Invariants
//! 1. What it accepts is RFC 8259 with an object at the top, nested at most [`JSON_DEPTH_MAX`]
//!    levels. (Unpaired surrogates in escapes are its grammar; they are refused where the text is
//!    wanted.)
//! 2. It does not recurse but along the declared paths, no further than [`JSON_DEPTH_MAX`].
//! 3. Text that is remembered was read once in the same state, so it means the same again.

mod scan;
mod text;

#[cfg(test)]
pub(super) mod tests;

use tidemill_model::limits::JSON_DEPTH_MAX;
use tidemill_pipeline::Column;

use super::columns::Value;
use scan::{Expected, Kind, Scanner};

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Byte of the record.
    pub(super) at: usize,
    /// What was expected there.
    pub(super) what: &'static str,
    /// The slot whose value it lies in.
    pub(super) slot: Option<usize>,
}

/// Reads records; holds the spans of the last one's wanted values.
#[derive(Debug)]
pub(super) struct JsonReader {
    /// Objects that hold wanted values; the first is the record.
    nodes: Vec<Node>,
    /// One for each distinct path.
    slots: Vec<Span>,
    /// The slot in whose value reading failed, after it failed.
    faulty: Option<usize>,
    scratch: String,
}

/// An object on the way to wanted values.
#[derive(Debug, Default)]
struct Node {
    /// Wanted members, sorted by name.
    members: Vec<Member>,
    /// The nth member of the last record, whatever it was.
    seen: Vec<Seen>,
    /// Every slot within.
    slots: Vec<usize>,
}

#[derive(Debug)]
struct Member {
    name: String,
    /// Where its value is wanted.
    slot: Option<usize>,
    /// Where something inside its value is wanted.
    node: Option<usize>,
}

/// All that stood before a value: from the end of the value before it.
#[derive(Debug, Default)]
struct Seen {
    text: Vec<u8>,
    member: Option<usize>,
}

/// Longest text and longest object that are remembered.
const SEEN_BYTES_MAX: usize = 128;
const SEEN_MEMBERS_MAX: usize = 256;

/// Where a value stands in the record.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
    /// `None`: there is no such member.
    kind: Option<Kind>,
}

const ABSENT: Span = Span { start: 0, end: 0, kind: None };

impl JsonReader {
    /// A reader of the columns' paths, and the slot of each column.
    pub(super) fn new(columns: &[Column]) -> (JsonReader, Vec<usize>) {
        let mut reader = JsonReader {
            nodes: vec![Node::default()],
            slots: Vec::new(),
            faulty: None,
            scratch: String::new(),
        };
        let slots = columns.iter().map(|column| reader.slot(&column.path)).collect();
        (reader, slots)
    }

    /// The slot of `path`, which is made if there is none.
    fn slot(&mut self, path: &[String]) -> usize {
        let mut node = 0;
        let mut within = vec![];
        for (depth, name) in path.iter().enumerate() {
            within.push(node);
            let members = &mut self.nodes[node].members;
            let at = match members.binary_search_by(|member| member.name.cmp(name)) {
                Ok(at) => at,
                Err(at) => {
                    members.insert(at, Member { name: name.clone(), slot: None, node: None });
                    at
                }
            };
            if depth + 1 < path.len() {
                let new = self.nodes.len();
                let next = *self.nodes[node].members[at].node.get_or_insert(new);
                if next == new {
                    self.nodes.push(Node::default());
                }
                node = next;
            } else {
                let new = self.slots.len();
                let slot = *self.nodes[node].members[at].slot.get_or_insert(new);
                if slot == new {
                    self.slots.push(ABSENT);
                    within.iter().for_each(|node| self.nodes[*node].slots.push(slot));
                }
                return slot;
            }
        }
        // A path without a name: the pipeline file cannot say that; such a column is always null.
        self.slots.push(ABSENT);
        self.slots.len() - 1
    }

    /// Finds the wanted values of `record`.
    pub(super) fn read(&mut self, record: &str) -> Result<(), Fault> {
        self.slots.fill(ABSENT);
        self.faulty = None;
        let mut scanner = Scanner::new(record.as_bytes());
        self.record(&mut scanner).map_err(|what| Fault {
            at: scanner.at(),
            what,
            slot: self.faulty,
        })
    }

    fn record(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Expected> {
        scanner.skip_space();
        match scanner.peek() {
            None => return Err("empty record"),
            Some(b'{') => self.object(scanner, 0, 1)?,
            Some(_) => return Err("expected an object"),
        }
        scanner.skip_space();
        match scanner.peek() {
            None => Ok(()),
            Some(_) => Err("expected the end of the record"),
        }
    }

    /// The value of a slot in `record`, which is the record that was read last.
    #[inline]
    pub(super) fn value<'a>(
        &'a mut self,
        slot: usize,
        record: &'a str,
    ) -> Result<Value<'a>, Fault> {
        let Span { start, end, kind } = self.slots[slot];
        let Some(kind) = kind else { return Ok(Value::Null) };
        let text = &record[start..end];
        Ok(match kind {
            Kind::Null => Value::Null,
            Kind::True => Value::Bool(true),
            Kind::False => Value::Bool(false),
            Kind::Number => Value::Number(text),
            Kind::Text => Value::Text(&text[1..text.len() - 1]),
            Kind::EscapedText => {
                text::unescape(&text[1..text.len() - 1], &mut self.scratch).map_err(|at| {
                    Fault { at: start + 1 + at, what: "unpaired surrogate", slot: Some(slot) }
                })?;
                Value::Text(&self.scratch)
            }
            Kind::Composite => Value::Composite(text),
        })
    }

    /// Where a slot's value begins.
    pub(super) fn offset(&self, slot: usize) -> usize {
        self.slots[slot].start
    }

    /// Reads the object at the scanner, which is the `depth`th from outside.
    fn object(
        &mut self,
        scanner: &mut Scanner<'_>,
        node: usize,
        depth: usize,
    ) -> Result<(), Expected> {
        if depth > JSON_DEPTH_MAX {
            return Err(scan::TOO_DEEP);
        }
        scanner.advance(1);
        for nth in 0.. {
            let seen = self.nodes[node].seen.get(nth);
            let member = match seen.filter(|seen| scanner.rest().starts_with(&seen.text)) {
                Some(seen) => {
                    scanner.advance(seen.text.len());
                    // This record may have more space before its value than the one before.
                    scanner.skip_space();
                    seen.member
                }
                None => {
                    let before = scanner.at();
                    let Some(name) = scanner.member_name(nth == 0)? else { return Ok(()) };
                    let member = self.member(node, name);
                    let text = scanner.since(before);
                    self.remember(node, nth, text, member);
                    member
                }
            };
            let Some(member) = member else {
                scanner.value(depth)?;
                continue;
            };
            let Member { slot, node: inner, .. } = self.nodes[node].members[member];
            let start = scanner.at();
            let kind = match inner {
                None => scanner.value(depth),
                Some(inner) => {
                    // Of two members of one name the last one counts, with all that is in it.
                    for within in &self.nodes[inner].slots {
                        self.slots[*within] = ABSENT;
                    }
                    if scanner.peek() == Some(b'{') {
                        self.object(scanner, inner, depth + 1).map(|()| Kind::Composite)
                    } else {
                        scanner.value(depth)
                    }
                }
            };
            let kind = match kind {
                Ok(kind) => kind,
                Err(what) => {
                    self.faulty = self.faulty.or(slot);
                    return Err(what);
                }
            };
            if let Some(slot) = slot {
                self.slots[slot] = Span { start, end: scanner.at(), kind: Some(kind) };
            }
        }
        Ok(())
    }

    /// The wanted member of this name, as it is written between its quotes.
    fn member(&mut self, node: usize, name: scan::Name<'_>) -> Option<usize> {
        let members = &self.nodes[node].members;
        let find =
            |name: &[u8]| members.binary_search_by(|member| member.name.as_bytes().cmp(name)).ok();
        if !name.escaped {
            return find(name.bytes);
        }
        let written = std::str::from_utf8(name.bytes).ok()?;
        text::unescape(written, &mut self.scratch).ok()?;
        find(self.scratch.as_bytes())
    }

    fn remember(&mut self, node: usize, nth: usize, text: &[u8], member: Option<usize>) {
        let seen = &mut self.nodes[node].seen;
        if text.len() > SEEN_BYTES_MAX || nth > seen.len() || nth >= SEEN_MEMBERS_MAX {
            return;
        }
        if nth == seen.len() {
            seen.push(Seen::default());
        }
        seen[nth].text.clear();
        seen[nth].text.extend_from_slice(text);
        seen[nth].member = member;
    }
}
