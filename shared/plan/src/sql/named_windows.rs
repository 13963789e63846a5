//! Windows of the clause WINDOW, written out where they are named: in SELECT, QUALIFY and ORDER BY.
//!
//! The engine knows such names in SELECT only, drops them elsewhere, and never reads the name that a
//! window begins with, `OVER (w ROWS …)`: the function would see other rows, or be no window function.
//!
//! Not here: what OVER means (`stage::over`).

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, NamedWindowExpr, OrderByKind, Query, Select, SelectItem, SetExpr, Statement,
    VisitMut, VisitorMut, WindowSpec, WindowType, visit_expressions_mut,
};

use crate::error::Refusal;

/// Writes out every named window of a statement.
pub(super) fn written_out(statement: &mut Statement) -> Result<(), Refusal> {
    match statement.visit(&mut WriteOut) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(refusal) => Err(*refusal),
    }
}

struct WriteOut;

impl VisitorMut for WriteOut {
    type Break = Box<Refusal>;

    // Inner queries come first, so that each finds the windows of its own.
    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        match of_query(query) {
            Ok(()) => ControlFlow::Continue(()),
            Err(refusal) => ControlFlow::Break(Box::new(refusal)),
        }
    }
}

fn of_query(query: &mut Query) -> Result<(), Refusal> {
    let windows = match query.body.as_ref() {
        SetExpr::Select(select) => definitions(select)?,
        _ => Vec::new(),
    };
    if let Some(order_by) = &mut query.order_by
        && let OrderByKind::Expressions(exprs) = &mut order_by.kind
    {
        for expr in exprs {
            expand(&mut expr.expr, &windows)?;
        }
    }
    of_body(&mut query.body)
}

fn of_body(body: &mut SetExpr) -> Result<(), Refusal> {
    match body {
        SetExpr::Select(select) => of_select(select),
        SetExpr::SetOperation { left, right, .. } => {
            of_body(left)?;
            of_body(right)
        }
        _ => Ok(()),
    }
}

fn of_select(select: &mut Select) -> Result<(), Refusal> {
    let windows = definitions(select)?;
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            expand(expr, &windows)?;
        }
    }
    if let Some(qualify) = &mut select.qualify {
        expand(qualify, &windows)?;
    }
    select.named_window.clear();
    Ok(())
}

type Windows = Vec<(String, WindowSpec)>;

/// The windows that a SELECT names, written out. One may begin with another that stands before it.
fn definitions(select: &Select) -> Result<Windows, Refusal> {
    let mut known: Windows = Vec::new();
    for definition in &select.named_window {
        let spec = match &definition.1 {
            NamedWindowExpr::NamedWindow(name) => find(&known, name)?.clone(),
            NamedWindowExpr::WindowSpec(spec) => complete(spec, &known)?,
        };
        let name = folded(&definition.0);
        if known.iter().any(|(other, _)| *other == name) {
            let message = format!("two windows of the clause WINDOW are called {}", definition.0);
            return Err(Refusal::new("plan::over::window", message).help("give one another name"));
        }
        known.push((name, spec));
    }
    Ok(known)
}

fn expand(expr: &mut Expr, windows: &Windows) -> Result<(), Refusal> {
    let expanded = visit_expressions_mut(expr, |part| {
        if let Expr::Function(function) = part {
            let spec = match &function.over {
                Some(WindowType::NamedWindow(name)) => find(windows, name).cloned(),
                Some(WindowType::WindowSpec(spec)) => complete(spec, windows),
                None => return ControlFlow::Continue(()),
            };
            match spec {
                Ok(spec) => function.over = Some(WindowType::WindowSpec(spec)),
                Err(refusal) => return ControlFlow::Break(Box::new(refusal)),
            }
        }
        ControlFlow::Continue(())
    });
    match expanded {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(refusal) => Err(*refusal),
    }
}

/// A window with what the one that it begins with says.
fn complete(spec: &WindowSpec, windows: &Windows) -> Result<WindowSpec, Refusal> {
    let Some(name) = &spec.window_name else { return Ok(spec.clone()) };
    let base = find(windows, name)?;
    let twice = (!spec.partition_by.is_empty()).then_some("PARTITION BY");
    let twice =
        twice.or((!spec.order_by.is_empty() && !base.order_by.is_empty()).then_some("ORDER BY"));
    let twice = twice.or(base.window_frame.is_some().then_some("frame"));
    if let Some(part) = twice {
        let message = format!("OVER ({name} …) cannot change the {part} of the window {name}");
        return Err(Refusal::new("plan::over::window", message).help("write the window in full"));
    }
    Ok(WindowSpec {
        window_name: None,
        partition_by: base.partition_by.clone(),
        order_by: if spec.order_by.is_empty() {
            base.order_by.clone()
        } else {
            spec.order_by.clone()
        },
        window_frame: spec.window_frame.clone(),
    })
}

fn find<'a>(windows: &'a Windows, name: &Ident) -> Result<&'a WindowSpec, Refusal> {
    let wanted = folded(name);
    let found = windows.iter().find(|(known, _)| *known == wanted);
    found.map(|(_, spec)| spec).ok_or_else(|| {
        let names: Vec<&str> = windows.iter().map(|(name, _)| name.as_str()).collect();
        let help = match names.as_slice() {
            [] => {
                "add WINDOW ".to_string()
                    + &wanted
                    + " AS (PARTITION BY … ORDER BY …) to this SELECT"
            }
            names => format!("windows of this SELECT: {}", names.join(", ")),
        };
        Refusal::new("plan::over::window", format!("no window is called {name}")).help(help)
    })
}

/// As the engine folds names.
fn folded(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use crate::sql::parse;

    #[track_caller]
    fn reads_as(sql: &str, wanted: &str) {
        assert_eq!(parse(sql).unwrap().to_string(), wanted);
    }

    /// The engine took `MAX(x) OVER w` in QUALIFY for `MAX(x)`.
    #[test]
    fn a_window_is_known_wherever_it_is_named() {
        reads_as(
            "SELECT MIN(x) OVER w FROM s WINDOW w AS (PARTITION BY k) QUALIFY MAX(x) OVER w = x ORDER BY AVG(x) OVER W",
            "SELECT MIN(x) OVER (PARTITION BY k) FROM s QUALIFY MAX(x) OVER (PARTITION BY k) = x ORDER BY AVG(x) OVER (PARTITION BY k)",
        );
        reads_as(
            "SELECT a FROM (SELECT MIN(x) OVER w AS a FROM s WINDOW w AS (ORDER BY t)) q UNION ALL SELECT MAX(x) OVER w FROM s WINDOW w AS (ORDER BY u)",
            "SELECT a FROM (SELECT MIN(x) OVER (ORDER BY t) AS a FROM s) q UNION ALL SELECT MAX(x) OVER (ORDER BY u) FROM s",
        );
    }

    #[test]
    fn a_window_can_begin_with_another() {
        reads_as(
            "SELECT MIN(x) OVER (w ROWS 2 PRECEDING), MAX(x) OVER v, AVG(x) OVER u FROM s WINDOW w AS (PARTITION BY k ORDER BY t), u AS w, v AS (u RANGE UNBOUNDED PRECEDING)",
            "SELECT MIN(x) OVER (PARTITION BY k ORDER BY t ROWS 2 PRECEDING), MAX(x) OVER (PARTITION BY k ORDER BY t RANGE UNBOUNDED PRECEDING), AVG(x) OVER (PARTITION BY k ORDER BY t) FROM s",
        );
    }

    #[test]
    fn unknown_and_contradicting_windows_are_refused() {
        for sql in [
            "SELECT MIN(x) OVER w FROM s",
            "SELECT x FROM s QUALIFY MIN(x) OVER v = x WINDOW w AS (ORDER BY t)",
            "SELECT MIN(x) OVER (w PARTITION BY k) FROM s WINDOW w AS (ORDER BY t)",
            "SELECT MIN(x) OVER (w ORDER BY u) FROM s WINDOW w AS (ORDER BY t)",
            "SELECT MIN(x) OVER (w ROWS 1 PRECEDING) FROM s WINDOW w AS (ORDER BY t ROWS 2 PRECEDING)",
            "SELECT MIN(x) OVER w FROM s WINDOW w AS (ORDER BY t), W AS (ORDER BY u)",
        ] {
            assert_eq!(parse(sql).unwrap_err().code, "plan::over::window", "{sql}");
        }
    }
}
