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
mod tests;

use tidemill_model::limits::JSON_DEPTH_MAX;
use tidemill_pipeline::{Column, PathStep};

use crate::columns::Value;
use scan::{Expected, Kind, Scanner};

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Byte of the record.
    pub(crate) at: usize,
    /// What was expected there.
    pub(crate) what: &'static str,
    /// The slot whose value it lies in.
    pub(crate) slot: Option<usize>,
}

/// Reads records; holds the spans of the last one's wanted values.
#[derive(Debug)]
pub(crate) struct JsonReader {
    /// Objects and arrays that hold wanted values; the first is the record.
    nodes: Vec<Node>,
    /// One for each distinct path.
    slots: Vec<Span>,
    /// The slot in whose value reading failed, after it failed.
    faulty: Option<usize>,
    scratch: String,
}

/// An object or an array on the way to wanted values: which of the two it is, each record says.
#[derive(Debug, Default)]
struct Node {
    /// Wanted members, sorted by name, when it is an object.
    members: Vec<(String, Wanted)>,
    /// Wanted elements, sorted by index, when it is an array.
    elements: Vec<(u32, Wanted)>,
    /// The nth member of the last record, whatever it was.
    seen: Vec<Seen>,
    /// Every slot within.
    slots: Vec<usize>,
}

/// A value that is wanted, or holds one.
#[derive(Debug, Default, Clone, Copy)]
struct Wanted {
    /// Where it goes itself.
    slot: Option<usize>,
    /// Where what is inside it goes.
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

impl Node {
    /// What is wanted at `step`, from here; made if there is nothing.
    fn wanted(&mut self, step: &PathStep) -> &mut Wanted {
        match step {
            PathStep::Member(name) => {
                let found = self.members.binary_search_by(|(own, _)| own.cmp(name));
                let at = found.unwrap_or_else(|at| {
                    self.members.insert(at, (name.clone(), Wanted::default()));
                    at
                });
                &mut self.members[at].1
            }
            PathStep::Element(index) => {
                let found = self.elements.binary_search_by(|(own, _)| own.cmp(index));
                let at = found.unwrap_or_else(|at| {
                    self.elements.insert(at, (*index, Wanted::default()));
                    at
                });
                &mut self.elements[at].1
            }
        }
    }
}

impl JsonReader {
    /// A reader of the columns' paths, and the slot of each column.
    pub(crate) fn new(columns: &[Column]) -> (JsonReader, Vec<usize>) {
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
    fn slot(&mut self, path: &[PathStep]) -> usize {
        let mut node = 0;
        let mut within = vec![];
        for (depth, step) in path.iter().enumerate() {
            within.push(node);
            let (new_node, new) = (self.nodes.len(), self.slots.len());
            let wanted = self.nodes[node].wanted(step);
            if depth + 1 < path.len() {
                let next = *wanted.node.get_or_insert(new_node);
                if next == new_node {
                    self.nodes.push(Node::default());
                }
                node = next;
            } else {
                let slot = *wanted.slot.get_or_insert(new);
                if slot == new {
                    self.slots.push(ABSENT);
                    within.iter().for_each(|node| self.nodes[*node].slots.push(slot));
                }
                return slot;
            }
        }
        // A path without a step: the pipeline file cannot say that; such a column is always null.
        self.slots.push(ABSENT);
        self.slots.len() - 1
    }

    /// Finds the wanted values of `record`.
    pub(crate) fn read(&mut self, record: &str) -> Result<(), Fault> {
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
    pub(crate) fn value<'a>(
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
    pub(crate) fn offset(&self, slot: usize) -> usize {
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
            let wanted = self.nodes[node].members[member].1;
            self.wanted(scanner, wanted, depth)?;
        }
        Ok(())
    }

    /// Reads the array at the scanner, which is the `depth`th from outside.
    fn array(
        &mut self,
        scanner: &mut Scanner<'_>,
        node: usize,
        depth: usize,
    ) -> Result<(), Expected> {
        if depth > JSON_DEPTH_MAX {
            return Err(scan::TOO_DEEP);
        }
        scanner.advance(1);
        scanner.skip_space();
        if scanner.peek() == Some(b']') {
            scanner.advance(1);
            return Ok(());
        }
        let mut next = 0; // of the wanted elements
        for index in 0u32.. {
            match self.nodes[node].elements.get(next) {
                Some(&(at, wanted)) if at == index => {
                    next += 1;
                    self.wanted(scanner, wanted, depth)?;
                }
                _ => drop(scanner.value(depth)?),
            }
            if !scanner.element()? {
                break;
            }
        }
        Ok(())
    }

    /// Reads a value inside `depth` objects and arrays that is wanted, or holds one.
    #[inline]
    fn wanted(
        &mut self,
        scanner: &mut Scanner<'_>,
        Wanted { slot, node }: Wanted,
        depth: usize,
    ) -> Result<(), Expected> {
        let start = scanner.at();
        let kind = match node {
            None => scanner.value(depth),
            Some(inner) => {
                // Of two members of one name the last one counts, with all that is in it.
                for within in &self.nodes[inner].slots {
                    self.slots[*within] = ABSENT;
                }
                match scanner.peek() {
                    Some(b'{') => self.object(scanner, inner, depth + 1).map(|()| Kind::Composite),
                    Some(b'[') if !self.nodes[inner].elements.is_empty() => {
                        self.array(scanner, inner, depth + 1).map(|()| Kind::Composite)
                    }
                    _ => scanner.value(depth),
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
        Ok(())
    }

    /// The wanted member of this name, as it is written between its quotes.
    fn member(&mut self, node: usize, name: scan::Name<'_>) -> Option<usize> {
        let members = &self.nodes[node].members;
        let find = |name: &[u8]| members.binary_search_by(|(own, _)| own.as_bytes().cmp(name)).ok();
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
