//! Sources made to break the parser, the checker or the stack: all are answered, none ends the process (EX-2).

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Values, lists, schema};
use crate::pattern::Pattern;
use crate::{Compiler, Problem};

/// Far above what any of these takes, far below what a policy's author would notice.
const SOON: Duration = Duration::from_secs(2);

fn compile(source: &str) -> Result<(), Vec<Problem>> {
    let schema = schema();
    let mut compiler = Compiler::new(&schema, lists());
    let (compiled, _) = compiler.expression(source)?;
    compiled.program.eval(&Values::default());
    Ok(())
}

fn nested(open: &str, inner: &str, close: &str, times: usize) -> String {
    format!("{}{inner}{}", open.repeat(times), close.repeat(times))
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test is about how long it takes"
)]
fn hostile_sources_are_refused_soon_and_with_a_reason() {
    let too_deep = "brackets and `? :` are nested more than 64 deep";
    let too_many = "the expression has more than 256 operators";
    let table = [
        (nested("(", "true", ")", 65), too_deep),
        (nested("(", "true", ")", 2_000), too_deep),
        (nested("[", "1", "]", 2_000), too_deep),
        (nested("abs(", "1", ")", 800), too_deep),
        (nested("!(-(", "1", "))", 600), too_deep),
        (
            "(".repeat(4_000),
            "this bracket is not closed; `)` is missing",
        ),
        (
            ")".repeat(4_000),
            "`)` closes a bracket that was not opened",
        ),
        (format!("{}1", "true ? 1 : ".repeat(65)), too_deep),
        (format!("{}1", "1+".repeat(2_000)), too_many),
        (format!("{}true", "true&&".repeat(600)), too_many),
        (format!("{}1", "- ".repeat(2_000)), too_many),
        (format!("{}true", "!".repeat(4_000)), too_many),
        (format!("1{}", " in 1".repeat(800)), too_many),
        (format!("a{}", ".a".repeat(2_000)), too_many),
        (format!("a{}", ".a()".repeat(1_000)), too_many),
        (format!("[{}1]", "1,".repeat(2_000)), too_many),
        (
            nested("1 + 1 * (", "1", ")", 64),
            "this is nested too deeply",
        ),
        (
            "a".repeat(4_097),
            "the expression has 4097 bytes; at most 4096 are allowed",
        ),
        (
            "é".repeat(1_000_000),
            "the expression has 2000000 bytes; at most 4096 are allowed",
        ),
        (
            "1 == \u{0}1".to_owned(),
            "there is an invisible control character (U+0000) here",
        ),
        (
            "\"a\u{7}\" == \"a\"".to_owned(),
            "there is an invisible control character (U+0007) here",
        ),
        (
            "1\u{a0}== 1".to_owned(),
            "this kind of space is not part of the language",
        ),
        (
            "\u{202e}1 == 1".to_owned(),
            "`\u{202e}` is not part of the language",
        ),
        ("\"".to_owned(), "this text is not closed"),
        ("\"\\".to_owned(), "this text is not closed"),
    ];
    for (source, message) in table {
        let start = Instant::now();
        let problems = compile(&source).unwrap_err();
        assert_eq!(problems[0].message, message);
        assert!(
            source.get(problems[0].span.clone()).is_some(),
            "span off a character: {message}"
        );
        assert!(
            start.elapsed() < SOON,
            "{message} took {:?}",
            start.elapsed()
        );
    }
}

/// Patterns that take a backtracking engine years, or memory without end where counts multiply.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test is about how long it takes"
)]
fn hostile_patterns_are_refused_or_searched_soon() {
    let refused = [
        ("(a{1000}){1000}", "this pattern is too large"),
        ("(\\\\w{100}){100}", "this pattern is too large"),
        ("((((a{9}){9}){9}){9}){9}", "this pattern is too large"),
        (
            "(((((((((((((((((((((((((((((((((a)))))))))))))))))))))))))))))))))",
            "brackets of the pattern are nested more than 32 deep",
        ),
    ];
    for (pattern, message) in refused {
        let start = Instant::now();
        let source = format!("transaction.merchant_id.matches(\"{pattern}\")");
        assert_eq!(
            compile(&source).unwrap_err()[0].message,
            message,
            "{pattern}"
        );
        assert!(
            start.elapsed() < SOON,
            "{pattern} took {:?}",
            start.elapsed()
        );
    }
    let long = "a".repeat(100_000);
    let optional = format!("{}{}$", "a?".repeat(60), "a".repeat(60));
    for pattern in [
        "(a+)+$",
        "(a|aa)*b",
        "(.*)*x",
        "(a|a)*$b",
        "^(([a-z])+.)+[A-Z]+$",
        &optional,
    ] {
        let start = Instant::now();
        let (pattern, _) = Pattern::parse(pattern).unwrap();
        pattern.holds(&long);
        assert!(
            start.elapsed() < SOON,
            "{pattern:?} took {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn hostile_networks_and_numbers_are_refused_with_a_reason() {
    let deep = nested(
        "cidr(\"10.0.0.0/8\").containsIP(",
        "transaction.ip_address",
        ")",
        60,
    );
    let table = [
        (
            deep,
            "`containsIP` is for texts, but `cidr(\"10.0.0.0/8\").containsIP(transactio…` is a flag",
        ),
        (
            nested("cidr(", "\"10.0.0.0/8\"", ")", 60),
            "`cidr` takes a network in quotes",
        ),
        (
            format!(
                "cidr(\"10.0.0.0/{}\").containsIP(transaction.ip_address)",
                "9".repeat(3_000)
            ),
            "what stands after `/` is not a number of bits",
        ),
        (
            format!(
                "cidr(\"{}/8\").containsIP(transaction.ip_address)",
                ":".repeat(3_000)
            ),
            "what stands before `/` is not an IP address",
        ),
        (
            "cidr(\"10.0.0.0/8/8\").containsIP(transaction.ip_address)".to_owned(),
            "what stands after `/` is not a number of bits",
        ),
        (
            format!("distance_km(0, 0, 0, {})", "9".repeat(300)),
            "the number",
        ),
        (format!("timestamp(\"{}\")", "9".repeat(3_000)), "\"9"),
        (
            format!("duration(\"{}d\") > duration(\"1d\")", "9".repeat(30)),
            "\"9",
        ),
    ];
    for (source, message) in table {
        let found = compile(&source)
            .err()
            .map(|problems| problems[0].message.clone());
        let found = found.unwrap_or_default();
        assert!(found.starts_with(message), "{source}\n{found}");
    }
}

#[test]
fn the_largest_sources_allowed_fit_a_small_stack() {
    let sources = [
        nested("(", "true", ")", 64),
        nested("!(", "true", ")", 64),
        nested("abs(", "1", ")", 64),
        nested("true && (true || (", "true", "))", 31),
        nested("true ? (", "true", ") : true", 31),
        format!("{}1", "true ? 1 : ".repeat(64)),
        format!("{}1", "1 + ".repeat(255)),
        format!("{}true", "true && ".repeat(255)),
        format!("{}true", "true == ".repeat(255)),
        nested("distance_km(", "1", ", 1, 1, 1)", 60),
        format!(
            "transaction.merchant_id.matches(\"{}\")",
            "(a|b)".repeat(700)
        ),
    ];
    let compiled = move || sources.iter().try_for_each(|source| compile(source));
    // Half of what a thread has by default, and threads of a server have that.
    let thread = std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(compiled)
        .unwrap();
    assert_eq!(thread.join().unwrap(), Ok(()));
}

/// Words of the language, so that random sources get past the scanner.
const WORDS: [&str; 56] = [
    "transaction",
    "card",
    "model",
    "features",
    "lists",
    ".",
    ".",
    ".",
    "amount",
    "channel",
    "score",
    "merchant_id",
    "blocked_merchants",
    "last",
    "where",
    "delayed",
    "count",
    "sum",
    "since_last",
    "(",
    ")",
    "(",
    ")",
    "[",
    "]",
    ",",
    "\"24h\"",
    "\"ecommerce\"",
    "500",
    "0.5",
    "==",
    "<",
    ">=",
    "&&",
    "||",
    "!",
    "-",
    "+",
    "?",
    ":",
    "in",
    "has",
    "true",
    "event_time",
    "matches",
    "\"^a+$\"",
    "\"(a\"",
    "cidr",
    "containsIP",
    "\"10.0.0.0/8\"",
    "ip_address",
    "distance_km",
    "latitude",
    "timestamp",
    "\"2026-01-31T00:00:00Z\"",
    "abs",
];

proptest! {
    #[test]
    fn random_words_are_refused_with_a_reason_or_compile(
        words in proptest::collection::vec(proptest::sample::select(&WORDS[..]), 0..30),
        glue in proptest::sample::select(&["", " ", "\n"][..]),
    ) {
        let source = words.join(glue);
        check_problems(&source)?;
    }

    #[test]
    fn random_characters_are_refused_with_a_reason_or_compile(source in "\\PC{0,40}") {
        check_problems(&source)?;
    }

    #[test]
    fn changed_rules_are_refused_with_a_reason_or_compile(
        at in 0_usize..100,
        removed in 0_usize..4,
        inserted in "[a-z0-9\"'().,<>=!&|?: \\\\-]{0,3}",
    ) {
        let rule = "card.last(\"24h\").where(amount < 5.0 && channel == \"ecommerce\").count() >= 6 || has(model.score)";
        let at = at.min(rule.len() - removed);
        let source = format!("{}{inserted}{}", &rule[..at], &rule[at + removed..]);
        check_problems(&source)?;
    }
}

fn check_problems(source: &str) -> Result<(), TestCaseError> {
    if let Err(problems) = compile(source) {
        prop_assert!(!problems.is_empty());
        for problem in problems {
            prop_assert!(source.get(problem.span.clone()).is_some(), "{problem:?}");
        }
    }
    Ok(())
}
