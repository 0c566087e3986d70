//! Any text as a list file.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| -> libfuzzer_sys::Corpus {
    tollgate_fuzz::with_text(bytes, tollgate_rules::fuzz::check_list)
});
