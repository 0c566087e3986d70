//! Any text as the condition of a rule: refused with a reason, or a program that does what the tree says (EX-1).
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| -> libfuzzer_sys::Corpus {
    tollgate_fuzz::with_text(bytes, tollgate_expr::fuzz::check_condition)
});
