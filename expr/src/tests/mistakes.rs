//! x
use super::*;
#[test]
fn dump() {
    let src = std::fs::read_to_string("/tmp/mistakes.txt").unwrap();
    for line in src.lines().filter(|l| !l.is_empty()) {
        let problems = problems_of(|c| match c.condition(line) {
            Err(p) => p,
            Ok(c) => c.warnings,
        });
        println!("\n{line}");
        if problems.is_empty() {
            println!("   !!! OK");
        }
        for p in problems {
            let s = &line[p.span.clone()];
            println!(
                "{}{}",
                " ".repeat(line[..p.span.start].chars().count()),
                "^".repeat(s.chars().count().max(1))
            );
            println!(
                "   {:?}: {}\n   help: {}",
                p.severity,
                p.message,
                p.help.unwrap_or_default()
            );
        }
    }
}
