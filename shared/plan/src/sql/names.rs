//! Names of streams, tables and columns that have capitals, found by one rule everywhere: a name is
//! found as it is written; without quotes also whatever the case, when one name alone fits.
//!
//! The engine folds what is not quoted to lower case. So each name that is meant otherwise is put in
//! quotes here, as it is spelled in the pipeline file, before the engine sees it.
//!
//! # Invariants
//! 1. A WITH clause hides a stream or table of its name, in what can see the clause.
//! 2. A name that nothing fits is left as it is: the engine refuses it, with the names that there are.
//!
//! Not here: that names of the pipeline differ in more than case (`pipeline::check::name`).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, JoinConstraint, JoinOperator,
    ObjectName, ObjectNamePart, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    Statement, TableAlias, TableFactor, VisitMut, VisitorMut,
};

use super::PARTITIONED;
use crate::error::{Refusal, span_range};

/// The columns of each stream and table, by its name.
pub(crate) type Relations = BTreeMap<String, Vec<String>>;

/// Puts the names of a statement in quotes where they are found by them alone.
pub(crate) fn resolve(
    statement: &mut Statement,
    relations: &Relations,
    sql: &str,
) -> Result<(), Refusal> {
    let mut tables = Tables {
        relations,
        sql,
        scopes: Vec::new(),
        qualifiers: BTreeSet::new(),
        columns: BTreeSet::new(),
    };
    if let ControlFlow::Break(refusal) = statement.visit(&mut tables) {
        return Err(*refusal);
    }
    let Tables { qualifiers, columns, .. } = tables;
    let mut rest = Columns { qualifiers, columns };
    let _: ControlFlow<()> = statement.visit(&mut rest);
    Ok(())
}

/// The same for an expression over these columns.
pub(crate) fn resolve_columns(expr: &mut Expr, columns: &[&str]) {
    let columns = columns.iter().map(|column| column.to_string()).collect();
    let _: ControlFlow<()> = expr.visit(&mut Columns { qualifiers: BTreeSet::new(), columns });
}

/// A name as the engine looks it up.
pub(super) fn folded(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_ascii_lowercase(),
    }
}

/// The name among `known` that `name` means, if it is none as the engine reads it.
fn meant<'k>(name: &Ident, known: impl Iterator<Item = &'k String> + Clone) -> Option<&'k String> {
    if let Some(same) = known.clone().find(|known| **known == name.value) {
        return Some(same);
    }
    let folded = folded(name);
    if let Some(same) = known.clone().find(|known| **known == folded) {
        return Some(same);
    }
    let mut alike = known.filter(|known| known.eq_ignore_ascii_case(&name.value));
    match (alike.next(), alike.next()) {
        (Some(alone), None) => Some(alone),
        _ => None,
    }
}

fn quote(name: &mut Ident, value: String) {
    if folded(name) != value {
        (name.value, name.quote_style) = (value, Some('"'));
    }
}

/// Finds streams and tables.
struct Tables<'a> {
    relations: &'a Relations,
    sql: &'a str,
    /// Names of the WITH clauses that can be seen, as the engine has them, innermost last.
    scopes: Vec<Vec<String>>,
    /// What columns can be qualified by.
    qualifiers: BTreeSet<String>,
    /// All columns that there may be.
    columns: BTreeSet<String>,
}

impl Tables<'_> {
    fn alias(&mut self, alias: Option<&TableAlias>) {
        if let Some(alias) = alias {
            self.qualifiers.insert(folded(&alias.name));
            self.columns.extend(alias.columns.iter().map(|column| folded(&column.name)));
        }
    }

    fn relation(&mut self, name: &mut Ident) -> Result<(), Refusal> {
        let clauses = self.scopes.iter().rev().flatten();
        let quoted = name.quote_style.is_some();
        if clauses.clone().any(|clause| *clause == name.value && quoted) {
            return Ok(());
        }
        if !quoted && let Some(clause) = meant(name, clauses) {
            self.qualifiers.insert(clause.clone());
            let clause = clause.clone();
            (name.value, name.quote_style) = (clause, Some('"'));
            return Ok(());
        }
        let found = match quoted {
            true => self.relations.keys().find(|known| **known == name.value),
            false => meant(name, self.relations.keys()),
        };
        let Some(found) = found else { return self.other_case(name) };
        self.qualifiers.insert(found.clone());
        self.columns.extend(self.relations.get(found).into_iter().flatten().cloned());
        match self.scopes.iter().all(Vec::is_empty) {
            true => quote(name, found.clone()),
            // Not to be taken for a WITH clause when it is seen again.
            false => (name.value, name.quote_style) = (found.clone(), Some('"')),
        }
        Ok(())
    }

    /// Refuses a quoted name that differs from one of the pipeline in case alone.
    fn other_case(&self, name: &Ident) -> Result<(), Refusal> {
        let alike = self.relations.keys().find(|known| known.eq_ignore_ascii_case(&name.value));
        let Some(alike) = alike.filter(|_| name.quote_style.is_some()) else { return Ok(()) };
        let message =
            format!("nothing is called {name} here: in quotes the case of letters counts");
        Err(Refusal::new("plan::sql", message)
            .help(format!("write \"{alike}\", or {alike} without quotes"))
            .at(span_range(self.sql, name.span)))
    }

    /// The table that a window function reads.
    fn data(&mut self, args: &mut [FunctionArg]) -> Result<(), Refusal> {
        let is_data = |arg: &FunctionArg| match arg {
            FunctionArg::Named { name, .. } => name.value.eq_ignore_ascii_case("DATA"),
            FunctionArg::ExprNamed { name: Expr::Identifier(name), .. } => {
                name.value.eq_ignore_ascii_case("DATA")
            }
            _ => false,
        };
        let at = args.iter().position(is_data).unwrap_or(0);
        let Some(arg) = args.get_mut(at) else { return Ok(()) };
        let (FunctionArg::Named { arg, .. }
        | FunctionArg::ExprNamed { arg, .. }
        | FunctionArg::Unnamed(arg)) = arg;
        match arg {
            FunctionArgExpr::Expr(Expr::Identifier(name)) => self.relation(name),
            FunctionArgExpr::Expr(Expr::Function(call)) if call.name.to_string() == PARTITIONED => {
                match &mut call.args {
                    FunctionArguments::List(list) => self.data(&mut list.args),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn factor(&mut self, factor: &mut TableFactor) -> Result<(), Refusal> {
        match factor {
            TableFactor::Table { name, alias, args, .. } => {
                self.alias(alias.as_ref());
                match (args, name.0.as_mut_slice()) {
                    (Some(args), _) => {
                        let call = name.to_string();
                        match crate::windowed::is_window_function(&call) {
                            true => self.data(&mut args.args),
                            false => Ok(()),
                        }
                    }
                    (None, [ObjectNamePart::Identifier(name)]) => self.relation(name),
                    (None, _) => Ok(()),
                }
            }
            TableFactor::TableFunction { expr: Expr::Function(call), alias } => {
                self.alias(alias.as_ref());
                match &mut call.args {
                    FunctionArguments::List(list) => self.data(&mut list.args),
                    _ => Ok(()),
                }
            }
            TableFactor::Derived { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::NestedJoin { alias, .. }
            | TableFactor::Function { alias, .. } => {
                self.alias(alias.as_ref());
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn flow(result: Result<(), Refusal>) -> ControlFlow<Box<Refusal>> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(refusal) => ControlFlow::Break(Box::new(refusal)),
    }
}

impl VisitorMut for Tables<'_> {
    type Break = Box<Refusal>;

    // Each clause sees those before it, so they are gone through here first; what is quoted then
    // stays as it is when the whole is gone through.
    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        let mut seen = Vec::new();
        if let Some(with) = &mut query.with {
            let recursive = with.recursive;
            for clause in &mut with.cte_tables {
                let name = folded(&clause.alias.name);
                if recursive {
                    seen.push(name.clone());
                }
                self.scopes.push(seen.clone());
                clause.query.visit(self)?;
                self.scopes.pop();
                self.alias(Some(&clause.alias));
                if !recursive {
                    seen.push(name);
                }
            }
        }
        self.scopes.push(seen);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Self::Break> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        flow(self.factor(factor))
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        for item in &mut select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                // As the column is spelled that it is most likely meant to be.
                if alias.quote_style.is_none() && self.columns.contains(&alias.value) {
                    let value = alias.value.clone();
                    quote(alias, value);
                }
                self.columns.insert(folded(alias));
            }
        }
        ControlFlow::Continue(())
    }
}

/// Finds columns, once all relations are known.
struct Columns {
    qualifiers: BTreeSet<String>,
    columns: BTreeSet<String>,
}

impl Columns {
    fn column(&self, name: &mut Ident) {
        if name.quote_style.is_none()
            && let Some(meant) = meant(name, self.columns.iter())
        {
            quote(name, meant.clone());
        }
    }

    /// Whether the name is what columns are qualified by.
    fn qualifier(&self, name: &mut Ident) -> bool {
        if name.quote_style.is_some() {
            return self.qualifiers.contains(&name.value);
        }
        // What the engine finds, an alias perhaps, comes first here.
        if self.qualifiers.contains(&folded(name)) {
            return true;
        }
        let meant = meant(name, self.qualifiers.iter()).cloned();
        let found = meant.is_some();
        if let Some(meant) = meant {
            quote(name, meant);
        }
        found
    }

    fn wildcard(&self, name: &mut ObjectName) {
        if let [ObjectNamePart::Identifier(name)] = name.0.as_mut_slice() {
            self.qualifier(name);
        }
    }
}

impl VisitorMut for Columns {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => self.column(name),
            Expr::CompoundIdentifier(names) => {
                let qualified = names.first_mut().is_some_and(|first| self.qualifier(first));
                if let Some(name) = names.get_mut(usize::from(qualified)) {
                    self.column(name);
                }
            }
            Expr::QualifiedWildcard(name, _) => self.wildcard(name),
            Expr::Function(call) => {
                if let FunctionArguments::List(list) = &mut call.args {
                    for arg in &mut list.args {
                        if let FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) = arg
                        {
                            self.wildcard(name);
                        }
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::QualifiedWildcard(kind, _) = item
                && let SelectItemQualifiedWildcardKind::ObjectName(name) = kind
            {
                self.wildcard(name);
            }
        }
        for join in select.from.iter_mut().flat_map(|tables| &mut tables.joins) {
            for name in using(&mut join.join_operator) {
                if let [ObjectNamePart::Identifier(name)] = name.0.as_mut_slice() {
                    self.column(name);
                }
            }
        }
        ControlFlow::Continue(())
    }
}

fn using(operator: &mut JoinOperator) -> &mut [ObjectName] {
    use JoinOperator::*;
    match operator {
        Join(JoinConstraint::Using(names))
        | Inner(JoinConstraint::Using(names))
        | Left(JoinConstraint::Using(names))
        | LeftOuter(JoinConstraint::Using(names))
        | Right(JoinConstraint::Using(names))
        | RightOuter(JoinConstraint::Using(names))
        | FullOuter(JoinConstraint::Using(names)) => names,
        _ => &mut [],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse;

    #[track_caller]
    fn reads_as(sql: &str, wanted: &str) {
        let relations = Relations::from([
            ("Readings".to_string(), vec!["ts".to_string(), "Sensor".to_string(), "x".to_string()]),
            ("others".to_string(), vec!["ts".to_string(), "k".to_string()]),
        ]);
        let mut statement = parse(sql).unwrap();
        resolve(&mut statement, &relations, sql).unwrap();
        assert_eq!(statement.to_string(), wanted);
    }

    /// `"Readings"` was not found in FROM, and `Readings` not in TUMBLE.
    #[test]
    fn a_name_with_capitals_is_found_everywhere() {
        for name in ["Readings", "readings", "READINGS", "\"Readings\""] {
            reads_as(
                &format!("SELECT * FROM {name} JOIN {name} AS b USING (SENSOR)"),
                "SELECT * FROM \"Readings\" JOIN \"Readings\" AS b USING(\"Sensor\")",
            );
            reads_as(
                &format!(
                    "SELECT {name}.sensor, {name}.* FROM TUMBLE({name}, ts, INTERVAL '1' DAY)"
                ),
                "SELECT \"Readings\".\"Sensor\", \"Readings\".* FROM TUMBLE(\"Readings\", ts, INTERVAL '1' DAY)",
            );
            reads_as(
                &format!(
                    "SELECT k FROM TABLE(SESSION(TABLE {name} PARTITION BY Sensor, DESCRIPTOR(ts), g))"
                ),
                "SELECT k FROM TABLE(SESSION(__partitioned(\"Readings\", \"Sensor\"), DESCRIPTOR(ts), g))",
            );
            reads_as(
                &format!(
                    "SELECT k FROM TABLE(TUMBLE(DATA => TABLE {name}, TIMECOL => d(ts), SIZE => i))"
                ),
                "SELECT k FROM TABLE(TUMBLE(DATA => \"Readings\", TIMECOL => d(ts), SIZE => i))",
            );
        }
    }

    #[test]
    fn what_the_query_names_itself_comes_first() {
        reads_as(
            "SELECT readings.k FROM others AS readings WHERE Readings.ts > t",
            "SELECT readings.k FROM others AS readings WHERE Readings.ts > t",
        );
        reads_as(
            "WITH readings AS (SELECT * FROM Readings), b AS (SELECT * FROM Readings) SELECT * FROM Readings, OTHERS",
            "WITH readings AS (SELECT * FROM \"Readings\"), b AS (SELECT * FROM \"readings\") SELECT * FROM \"readings\", \"others\"",
        );
        reads_as(
            "SELECT k AS sensor, Sensor FROM others, readings",
            "SELECT k AS sensor, \"Sensor\" FROM others, \"Readings\"",
        );
        reads_as(
            "SELECT Sensor AS Sensor, SENSOR FROM readings GROUP BY Sensor",
            "SELECT \"Sensor\" AS \"Sensor\", \"Sensor\" FROM \"Readings\" GROUP BY \"Sensor\"",
        );
    }

    #[test]
    fn in_quotes_the_case_counts() {
        let relations = Relations::from([("Readings".to_string(), Vec::new())]);
        let sql = "SELECT x FROM \"readings\"";
        let refusal = resolve(&mut parse(sql).unwrap(), &relations, sql).unwrap_err();
        assert_eq!(refusal.help.as_deref(), Some("write \"Readings\", or Readings without quotes"));
        assert_eq!(refusal.at.map(|at| &sql[at]), Some("\"readings\""));
        reads_as("SELECT \"sensor\" FROM Readings", "SELECT \"sensor\" FROM \"Readings\"");
    }
}
