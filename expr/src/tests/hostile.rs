//! x
use super::*;
#[test]
fn dump_h() {
    for (n, s) in [
        (
            "parens64",
            format!("{}true{}", "(".repeat(64), ")".repeat(64)),
        ),
        (
            "parens65",
            format!("{}true{}", "(".repeat(65), ")".repeat(65)),
        ),
        (
            "not(64",
            format!("{}true{}", "!(".repeat(64), ")".repeat(64)),
        ),
        (
            "abs(64",
            format!("{}1{} > 0", "abs(".repeat(64), ")".repeat(64)),
        ),
        ("list64", format!("{}1{}", "[".repeat(64), "]".repeat(64))),
        ("ternary", format!("{}true", "true ? true : ".repeat(64))),
        (
            "ternaryparen",
            format!("{}true{}", "true ? (".repeat(32), ") : true".repeat(32)),
        ),
        ("and", format!("{}true", "true && ".repeat(256))),
        (
            "alt",
            format!("{}true{}", "true && (true || (".repeat(32), "))".repeat(32)),
        ),
        ("plus", format!("{}1 > 0", "1 + ".repeat(250))),
        (
            "deep",
            format!("{}1{} > 0", "1 + 1 * (".repeat(64), ")".repeat(64)),
        ),
        ("cmp", format!("{}1", "1 < ".repeat(256))),
        ("dots", format!("a{}", ".b".repeat(256))),
        ("calls", format!("a{}", ".b()".repeat(128))),
        ("neg", format!("{}1 > 0", "- ".repeat(250))),
        (
            "min",
            format!("{}1{} > 0", "min(1, 1 + 2 * ".repeat(60), ")".repeat(60)),
        ),
        (
            "list",
            format!("transaction.amount in [{}1]", "1, ".repeat(250)),
        ),
        ("in", format!("1{}", " in lists.x".repeat(300))),
        ("in2", format!("1{}", " in 1".repeat(600))),
        ("mix", format!("{}1{}", "(-(!".repeat(32), ")".repeat(64))),
        ("eqs", format!("{}true", "true == ".repeat(256))),
    ] {
        let t = std::time::SystemTime::now();
        let p = problems_of(|c| match c.condition(&s) {
            Err(p) => p,
            Ok(c) => c.warnings,
        });
        println!(
            "{n}: {:?} {:?}",
            t.elapsed().unwrap(),
            p.first().map(|p| (&p.message, p.severity, &p.span))
        );
    }
}
