//! Any text as the only rule file of a good policy, with everything a load does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_fuzz::fill_aggregates;

fuzz_target!(|bytes: &[u8]| -> libfuzzer_sys::Corpus {
    tollgate_fuzz::with_text(bytes, |text| {
        tollgate_rules::fuzz::check_rules(text, &mut fill_aggregates);
    })
});
