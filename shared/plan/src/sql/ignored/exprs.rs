//! Expressions, and the clauses of function calls.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Array, BinaryOperator, CaseWhen, CeilFloorKind, DateTimeField, DictionaryField,
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList,
    FunctionArguments, Interval, LambdaFunction, LambdaFunctionParameter, Map, MapEntry, MemberOf,
    ObjectName, ObjectNamePart, Spanned, StructField, Subscript, TypedString, UnaryOperator,
    WindowFrame, WindowFrameBound, WindowSpec, WindowType,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::{Checked, Walk};
use crate::sql::names::folded;

impl Walk<'_> {
    pub(super) fn expr(&self, expr: &Expr) -> Checked {
        let span = expr.span();
        match expr {
            Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::Value(_)
            | Expr::Wildcard(_)
            | Expr::QualifiedWildcard(..) => Ok(()),
            Expr::CompoundFieldAccess { root, access_chain } => {
                self.expr(root)?;
                access_chain.iter().try_for_each(|access| self.access(access))
            }
            Expr::JsonAccess { value: _, path: _ } => {
                let help = "give the member a column of its own, with path = \"a.b\", in the pipeline \
                            file";
                self.unused("a path of JSON", help, span)
            }
            Expr::IsFalse(it)
            | Expr::IsNotFalse(it)
            | Expr::IsTrue(it)
            | Expr::IsNotTrue(it)
            | Expr::IsNull(it)
            | Expr::IsNotNull(it)
            | Expr::IsUnknown(it)
            | Expr::IsNotUnknown(it)
            | Expr::Nested(it) => self.expr(it),
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                self.all([left, right])
            }
            Expr::IsNormalized { expr: _, form: _, negated: _ } => {
                self.unused("IS NORMALIZED", "leave it out", span)
            }
            Expr::InList { expr, list, negated: _ } => {
                self.expr(expr)?;
                list.iter().try_for_each(|it| self.expr(it))
            }
            Expr::InSubquery { expr, subquery, negated: _ } => {
                self.expr(expr)?;
                self.query(subquery)
            }
            Expr::InUnnest { expr: _, array_expr: _, negated: _ } => {
                self.unused("IN UNNEST(…)", "write array_has(list, x)", span)
            }
            Expr::Between { expr, negated: _, low, high } => self.all([expr, low, high]),
            Expr::BinaryOp { left, op, right } => {
                self.expr(left)?;
                self.binary(op, right.span())?;
                self.expr(right)
            }
            Expr::Like { negated: _, any, expr, pattern, escape_char: _ }
            | Expr::ILike { negated: _, any, expr, pattern, escape_char: _ } => {
                let help = "write the patterns with OR: x LIKE 'a%' OR x LIKE 'b%'";
                self.unless(!any, "LIKE ANY", help, pattern.span())?;
                self.all([expr, pattern])
            }
            // Refused by `misread`.
            Expr::SimilarTo { negated: _, expr, pattern, escape_char: _ } => {
                self.all([expr, pattern])
            }
            Expr::RLike { negated, expr, pattern, regexp } => {
                let what = if *regexp { "REGEXP" } else { "RLIKE" };
                let operator = if *negated { "!~" } else { "~" };
                self.unused(what, format!("write {expr} {operator} {pattern}"), expr.span())
            }
            Expr::AnyOp { left, compare_op: _, right, is_some: _ }
            | Expr::AllOp { left, compare_op: _, right } => self.all([left, right]),
            Expr::UnaryOp { op, expr } => {
                self.unary(op, span)?;
                self.expr(expr)
            }
            Expr::Convert {
                is_try: _,
                expr: _,
                data_type: _,
                charset: _,
                target_before_value: _,
                styles: _,
            } => self.unused("CONVERT", "write CAST(x AS BIGINT)", span),
            Expr::Cast { kind: _, expr, data_type, array, format } => {
                let help = "write to_char(t, '%Y-%m-%d') or to_timestamp(x, '%Y-%m-%d')";
                self.unless(format.is_none(), "FORMAT in CAST", help, span)?;
                let help = "write BIGINT[] as the type";
                self.unless(!array, "ARRAY in CAST", help, span)?;
                self.data_type(data_type, expr.span())?;
                self.expr(expr)
            }
            Expr::AtTimeZone { timestamp, time_zone } => {
                let named = matches!(time_zone.as_ref(), Expr::Value(_));
                let help = "write the zone's name as a text: ts AT TIME ZONE 'Europe/Berlin'";
                self.unless(named, "a time zone that is no text", help, time_zone.span())?;
                self.expr(timestamp)
            }
            Expr::Extract { field: _, syntax: _, expr } => self.expr(expr),
            Expr::Ceil { expr, field } | Expr::Floor { expr, field } => {
                match field {
                    CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) => {}
                    CeilFloorKind::DateTimeField(field) => {
                        let help = format!(
                            "write date_trunc('{}', ts); windows are FROM TUMBLE(…)",
                            field.to_string().to_lowercase()
                        );
                        return self.unused("a unit in FLOOR or CEIL", help, expr.span());
                    }
                    CeilFloorKind::Scale(_) => {
                        let help = "write round(x, 2), or trunc(x, 2)";
                        return self.unused("a scale in FLOOR or CEIL", help, expr.span());
                    }
                }
                self.expr(expr)
            }
            Expr::Position { expr, r#in } => self.all([expr, r#in]),
            Expr::Substring { expr, substring_from, substring_for, special: _, shorthand: _ } => {
                self.expr(expr)?;
                self.optional(substring_from.as_deref())?;
                self.optional(substring_for.as_deref())
            }
            Expr::Trim { trim_where: _, trim_what, expr, trim_characters } => {
                self.expr(expr)?;
                self.optional(trim_what.as_deref())?;
                let characters = trim_characters.as_deref().unwrap_or_default();
                let help = "write the characters as one text: trim(x, 'ab')";
                self.unless(characters.len() <= 1, "a second text to trim", help, span)?;
                characters.iter().try_for_each(|it| self.expr(it))
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                self.all([expr, overlay_what, overlay_from])?;
                self.optional(overlay_for.as_deref())
            }
            Expr::Collate { expr: _, collation: _ } => {
                let help = "leave it out: texts are compared by their bytes; write lower(x) for a \
                            comparison without regard to case";
                self.unused("COLLATE", help, span)
            }
            Expr::Prefixed { prefix, value } => {
                self.unused(format!("{prefix} before a text"), format!("write {value}"), span)
            }
            Expr::TypedString(TypedString { data_type, value: _, uses_odbc_syntax: _ }) => {
                self.data_type(data_type, span)
            }
            Expr::Function(function) => self.function(function),
            Expr::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                self.optional(operand.as_deref())?;
                for CaseWhen { condition, result } in conditions {
                    self.all([condition, result])?;
                }
                self.optional(else_result.as_deref())
            }
            Expr::Exists { subquery, negated: _ } => self.query(subquery),
            Expr::Subquery(query) => self.query(query),
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
                sets.iter().flatten().try_for_each(|it| self.expr(it))
            }
            Expr::Tuple(exprs) => exprs.iter().try_for_each(|it| self.expr(it)),
            Expr::Struct { values, fields } => {
                for StructField { field_name: _, field_type, options } in fields {
                    self.unless(options.is_none(), "OPTIONS of a type", "leave them out", span)?;
                    self.data_type(field_type, span)?;
                }
                values.iter().try_for_each(|it| self.expr(it))
            }
            Expr::Named { expr, name: _ } => self.expr(expr),
            Expr::Dictionary(fields) => fields.iter().try_for_each(|field| {
                let DictionaryField { key: _, value } = field;
                self.expr(value)
            }),
            Expr::Map(Map { entries }) => entries.iter().try_for_each(|entry| {
                let MapEntry { key, value } = entry;
                self.all([key, value])
            }),
            Expr::Array(Array { elem, named: _ }) => elem.iter().try_for_each(|it| self.expr(it)),
            Expr::Interval(interval) => self.interval(interval, span),
            Expr::MatchAgainst { columns: _, match_value: _, opt_search_modifier: _ } => {
                self.unused("MATCH … AGAINST", "write x ~* 'word'", span)
            }
            Expr::OuterJoin(_) => self.unused("(+)", "write LEFT JOIN … ON …", span),
            Expr::Prior(_) => self.unused("PRIOR", "write LAG(x) OVER (… ORDER BY ts)", span),
            Expr::Lambda(LambdaFunction { params, body, syntax: _ }) => {
                for LambdaFunctionParameter { name, data_type } in params.iter() {
                    let help = "write the name alone";
                    let typed = data_type.is_some();
                    self.unless(!typed, "a type of a lambda's parameter", help, name.span)?;
                }
                self.expr(body)
            }
            Expr::MemberOf(MemberOf { value: _, array: _ }) => {
                self.unused("MEMBER OF", "write array_has(list, x)", span)
            }
        }
    }

    fn all<const N: usize>(&self, exprs: [&Expr; N]) -> Checked {
        exprs.into_iter().try_for_each(|expr| self.expr(expr))
    }

    fn access(&self, access: &AccessExpr) -> Checked {
        match access {
            AccessExpr::Dot(expr) => self.expr(expr),
            AccessExpr::Subscript(Subscript::Index { index }) => self.expr(index),
            AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride }) => {
                [lower_bound, upper_bound, stride]
                    .into_iter()
                    .try_for_each(|it| self.optional(it.as_ref()))
            }
        }
    }

    fn interval(&self, interval: &Interval, span: Span) -> Checked {
        let Interval {
            value,
            leading_field: _,
            leading_precision,
            last_field,
            fractional_seconds_precision,
        } = interval;
        let plain = leading_precision.is_none() && fractional_seconds_precision.is_none();
        let help = "write INTERVAL '10' SECOND";
        self.unless(plain, "the precision of an interval", help, span)?;
        let help = "write the parts with their units: INTERVAL '1 hour 30 minutes'";
        self.unless(last_field.is_none(), "TO in an interval", help, span)?;
        self.expr(value)
    }

    fn binary(&self, op: &BinaryOperator, span: Span) -> Checked {
        use BinaryOperator::*;
        let help = match op {
            Plus | Minus | Multiply | Divide | Modulo | StringConcat | Gt | Lt | GtEq | LtEq
            | Spaceship | Eq | NotEq | And | Or | Xor | BitwiseOr | BitwiseAnd | BitwiseXor
            | DuckIntegerDivide | MyIntegerDivide | PGBitwiseXor | PGBitwiseShiftLeft
            | PGBitwiseShiftRight | PGExp | PGRegexMatch | PGRegexIMatch | PGRegexNotMatch
            | PGRegexNotIMatch | PGLikeMatch | PGILikeMatch | PGNotLikeMatch | PGNotILikeMatch
            | AtArrow | ArrowAt => return Ok(()),
            Arrow | LongArrow | HashArrow | HashLongArrow | HashMinus | AtQuestion | Question
            | QuestionAnd | QuestionPipe => {
                "give the member a column of its own, with path = \"a.b\", in the pipeline file"
            }
            Overlaps | PGOverlap => "write a.begins < b.ends AND b.begins < a.ends",
            Regexp | Match => "write x ~ 'pattern'",
            PGStartsWith => "write starts_with(x, 'a')",
            PGCustomBinaryOperator(_) => "write the operator alone, a + b",
            Custom(_) | AtAt | DoubleHash | LtDashGt | AndLt | AndGt | LtLtPipe | PipeGtGt
            | AndLtPipe | PipeAndGt | LtCaret | GtCaret | QuestionHash | QuestionDash
            | QuestionDashPipe | QuestionDoublePipe | At | TildeEq | Assignment => {
                "write a function, or a comparison"
            }
        };
        self.unused(format!("the operator {op}"), help, span)
    }

    fn unary(&self, op: &UnaryOperator, span: Span) -> Checked {
        use UnaryOperator::*;
        let help = match op {
            Plus | Minus | Not | BitwiseNot => return Ok(()),
            BangNot => "write NOT x",
            PGAbs => "write abs(x)",
            PGCubeRoot => "write cbrt(x)",
            PGSquareRoot => "write sqrt(x)",
            PGPostfixFactorial | PGPrefixFactorial => "write factorial(x)",
            AtDashAt | DoubleAt | Hash | QuestionDash | QuestionPipe => "write a function",
        };
        self.unused(format!("the operator {op}"), help, span)
    }

    fn function(&self, function: &Function) -> Checked {
        let Function {
            name,
            uses_odbc_syntax: _,
            parameters,
            args,
            filter,
            null_treatment,
            over,
            within_group,
        } = function;
        let span = name.span();
        match parameters {
            FunctionArguments::None => {}
            FunctionArguments::Subquery(_) | FunctionArguments::List(_) => {
                let help = "write all arguments in one list: percentile_cont(x, 0.9)";
                return self.unused("a list of parameters before the arguments", help, span);
            }
        }
        let scalar = (self.is_scalar)(&looked_up(name));
        if scalar {
            let upper = name.to_string().to_uppercase();
            let of = |clause: &str| format!("{clause} of {upper}, a function of one row,");
            let clause = match () {
                () if filter.is_some() => Some(("FILTER", "write CASE WHEN … THEN … END")),
                () if null_treatment.is_some() => Some(("IGNORE or RESPECT NULLS", "leave it out")),
                () if over.is_some() => Some(("OVER", "write the function alone")),
                () if !within_group.is_empty() => Some(("WITHIN GROUP", "leave it out")),
                () => None,
            };
            if let Some((clause, help)) = clause {
                return self.unused(of(clause), help, span);
            }
        }
        match args {
            FunctionArguments::None => {}
            FunctionArguments::Subquery(_) => {
                let help = "write the query as a scalar subquery in parentheses of its own, or \
                            array_agg(x) in it";
                return self.unused(format!("a query as the argument of {name}"), help, span);
            }
            FunctionArguments::List(list) => {
                let FunctionArgumentList { duplicate_treatment, args, clauses } = list;
                if scalar && duplicate_treatment.is_some() {
                    let what = format!("DISTINCT or ALL of {name}, a function of one row,");
                    return self.unused(what, "write SELECT DISTINCT, or leave it out", span);
                }
                clauses.iter().try_for_each(|it| self.clause(it, name, scalar))?;
                self.arguments(args)?;
            }
        }
        self.optional(filter.as_deref())?;
        match over {
            None | Some(WindowType::NamedWindow(_)) => {}
            Some(WindowType::WindowSpec(spec)) => self.window(spec)?,
        }
        self.sorts(within_group)
    }

    /// What stands behind a function's arguments, inside its parentheses.
    fn clause(&self, clause: &FunctionArgumentClause, name: &ObjectName, scalar: bool) -> Checked {
        let (what, help) = match clause {
            FunctionArgumentClause::IgnoreOrRespectNulls(_) if scalar => {
                ("IGNORE or RESPECT NULLS", "leave it out")
            }
            FunctionArgumentClause::OrderBy(_) if scalar => ("ORDER BY", "leave it out"),
            FunctionArgumentClause::IgnoreOrRespectNulls(_) => return Ok(()),
            FunctionArgumentClause::OrderBy(sorts) => return self.sorts(sorts),
            FunctionArgumentClause::Limit(_) => ("LIMIT", "write array_slice(array_agg(x), 1, 10)"),
            FunctionArgumentClause::OnOverflow(_) => {
                ("ON OVERFLOW", "leave it out: a text has any length")
            }
            FunctionArgumentClause::Having(_) => {
                ("HAVING MAX or MIN", "write FIRST_VALUE(x ORDER BY y DESC)")
            }
            FunctionArgumentClause::Separator(_) => ("SEPARATOR", "write STRING_AGG(x, ',')"),
            FunctionArgumentClause::JsonNullClause(_)
            | FunctionArgumentClause::JsonReturningClause(_) => {
                ("a clause of JSON", "leave it out")
            }
        };
        self.unused(format!("{what} in {name}(…)"), help, name.span())
    }

    pub(super) fn arguments(&self, args: &[FunctionArg]) -> Checked {
        args.iter().try_for_each(|arg| match arg {
            FunctionArg::Named { name: _, arg, operator: _ } | FunctionArg::Unnamed(arg) => {
                self.argument(arg)
            }
            // A window function's, which reads its names; else the engine refuses it.
            FunctionArg::ExprNamed { name: _, arg, operator: _ } => self.argument(arg),
        })
    }

    fn argument(&self, arg: &FunctionArgExpr) -> Checked {
        match arg {
            FunctionArgExpr::Expr(expr) => self.expr(expr),
            FunctionArgExpr::Wildcard | FunctionArgExpr::QualifiedWildcard(_) => Ok(()),
            FunctionArgExpr::WildcardWithOptions(options) => {
                let span = options.wildcard_token.0.span;
                self.unused("* with options as an argument", "write COUNT(*), or a column", span)
            }
        }
    }

    pub(super) fn window(&self, window: &WindowSpec) -> Checked {
        let WindowSpec { window_name: _, partition_by, order_by, window_frame } = window;
        partition_by.iter().try_for_each(|it| self.expr(it))?;
        self.sorts(order_by)?;
        let Some(WindowFrame { units: _, start_bound, end_bound }) = window_frame else {
            return Ok(());
        };
        [Some(start_bound), end_bound.as_ref()].into_iter().flatten().try_for_each(|bound| {
            match bound {
                WindowFrameBound::CurrentRow => Ok(()),
                WindowFrameBound::Preceding(by) | WindowFrameBound::Following(by) => {
                    self.optional(by.as_deref())
                }
            }
        })
    }
}

/// A function's name as the engine looks it up.
fn looked_up(name: &ObjectName) -> String {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => folded(name),
        _ => name.to_string(),
    }
}
