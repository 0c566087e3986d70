//! Files that are corrupt, wrong or hostile: each is refused with its reason, and the process lives.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "what fails here fails a test, and what is written may be any bits"
)]

#[path = "../common/mod.rs"]
mod common;
mod kinds;
mod writer;

use std::fs;
use std::time::Duration;

use common::{Folder, Model, definition, model_file};
use kinds::Kind;

/// Long enough for every model here but the one that never ends.
const LIMIT: Duration = Duration::from_secs(2);

/// A bundle that would be good if its model were, putting out `p`.
fn folder(model: &[u8]) -> Folder {
    let mut folder = Folder::new(Model::Probability).with_model(model);
    folder.replace("name: probability,", "name: p,");
    folder
}

fn check(kinds: Vec<Kind>) {
    for Kind { name, model, says } in kinds {
        let folder = folder(&model);
        let error = match folder.open_within(&definition, LIMIT) {
            Ok(_) => panic!("{name}: opened"),
            Err(error) => error.to_string(),
        };
        for part in says {
            assert!(
                error.contains(part),
                "{name}: {error:?} does not say {part:?}"
            );
        }
    }
    // Whatever was refused, the next good one is opened.
    Folder::new(Model::Pair).open().unwrap();
}

#[test]
fn files_of_another_kind_are_called_by_their_name() {
    check(kinds::files());
}

#[test]
fn what_a_model_declares_must_fit() {
    check(kinds::operators());
    check(kinds::inputs());
    check(kinds::outputs());
}

#[test]
fn constants_must_be_in_the_file_and_as_large_as_they_say() {
    check(kinds::constants());
}

#[test]
fn graphs_must_end() {
    check(kinds::graphs());
}

#[test]
fn trees_must_be_trees() {
    check(kinds::trees());
}

#[test]
fn memory_is_bounded() {
    check(kinds::memory());
}

#[test]
fn a_model_cut_off_anywhere_is_refused() {
    for file in ["pair.onnx", "logit.onnx"] {
        let whole = model_file(file);
        for length in 0..whole.len() {
            let opened = folder(&whole[..length]).open_within(&definition, LIMIT);
            assert!(opened.is_err(), "{file} cut off at {length}");
        }
    }
}

/// A changed bit may change a name in a comment only, so not all are refused; none may end the process.
#[test]
fn a_model_with_any_bit_changed_is_survived() {
    let whole = model_file("pair.onnx");
    let mut refused = 0;
    for byte in 0..whole.len() {
        for bit in [0, 3, 7] {
            let mut changed = whole.clone();
            changed[byte] ^= 1 << bit;
            let folder = Folder::new(Model::Pair).with_model(&changed);
            refused += usize::from(folder.open_within(&definition, LIMIT).is_err());
        }
    }
    assert!(refused > whole.len(), "{refused} of {}", 3 * whole.len());
}

#[test]
fn a_link_to_data_elsewhere_is_not_followed() {
    let link = kinds::constants()
        .into_iter()
        .find(|kind| kind.name == "symbolic link");
    let folder = folder(&link.unwrap().model);
    std::os::unix::fs::symlink("/etc/passwd", folder.folder.path().join("link.bin")).unwrap();
    let error = folder.open_within(&definition, LIMIT).err().unwrap();
    assert!(error.to_string().contains("in another file"), "{error}");
}

#[test]
fn what_is_no_file_or_too_large_a_file_is_not_read() {
    let bundle = Folder::new(Model::Pair);
    let path = bundle.folder.path().join("model.onnx");
    let huge = fs::File::create(&path).unwrap();
    huge.set_len(1 << 40).unwrap();
    let error = bundle.error();
    assert!(
        error.contains("model.onnx is 1099511627776 bytes"),
        "{error}"
    );

    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let error = bundle.error();
    assert!(error.contains("is not a file"), "{error}");

    fs::remove_dir(&path).unwrap();
    // It never ends, and has no size.
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    let error = bundle.error();
    assert!(error.contains("is not a file"), "{error}");
}
