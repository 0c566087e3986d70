//! `fx.yaml`: the base currency and what the others are worth.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tollgate_source::{Diagnostic, Diagnostics, Fields, NodeKind, SourceFile, parse};
use tollgate_types::{Currency, Rates};

/// Reads the exchange rates; `None`, with what is wrong noted, if there is any mistake.
pub(crate) fn read(file: &Arc<SourceFile>, notes: &mut Diagnostics) -> Option<Rates> {
    let mut found = Diagnostics::default();
    let rates = read_rates(file, &mut found);
    let good = !found.has_errors();
    notes.append(found);
    rates.filter(|_| good)
}

fn read_rates(file: &Arc<SourceFile>, notes: &mut Diagnostics) -> Option<Rates> {
    let node = parse(file).map_err(|error| notes.push(error)).ok()?;
    let fields = Fields::of("fx.yaml", &node, file, &["base", "rates"], notes)?;
    let help = "add `base:` with the currency that amounts are compared in, such as USD";
    let base = fields
        .required_text("base", help, notes)
        .and_then(|written| currency(&written.value, written.span, file, notes));
    let mut per_unit = BTreeMap::new();
    if let Some(node) = fields.get("rates") {
        let rates = Fields::open("`rates`", node, file, notes)?;
        for (code, node) in rates.entries() {
            let currency = currency(&code.value, code.span.clone(), file, notes);
            let NodeKind::Scalar(written) = &node.kind else {
                let message = format!("the rate of {} must be a number", code.value);
                notes
                    .push(Diagnostic::error(file, code.span.clone(), message).with_help(RATE_HELP));
                continue;
            };
            if currency.is_some() && currency == base {
                let message = format!("{} is the base currency; its rate is always 1", code.value);
                notes.push(
                    Diagnostic::error(file, code.span.clone(), message)
                        .with_help("remove this line"),
                );
            }
            match written.parse::<f64>() {
                Ok(rate) if rate.is_finite() && rate > 0.0 => {
                    per_unit.extend(currency.map(|currency| (currency, rate)));
                }
                _ => {
                    let message = format!("`{written}` is not a rate");
                    notes.push(
                        Diagnostic::error(file, node.span.clone(), message).with_help(RATE_HELP),
                    );
                }
            }
        }
    }
    // What `Rates::new` refuses was noted above with its position.
    Rates::new(base?, per_unit).ok()
}

const RATE_HELP: &str = "write how much of the base currency one unit is worth, such as 1.08";

fn currency(
    code: &str,
    span: Range<usize>,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) -> Option<Currency> {
    let found = Currency::parse(code).ok();
    if found.is_none() {
        let message = format!("`{code}` is not a currency code of ISO 4217");
        let upper = code.to_uppercase();
        let help = if Currency::parse(&upper).is_ok() {
            format!("write `{upper}`")
        } else {
            "write three capital letters, such as EUR".to_owned()
        };
        notes.push(Diagnostic::error(file, span, message).with_help(help));
    }
    found
}
