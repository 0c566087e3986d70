//! Constants that are not what they say.

use super::{Kind, kind, linear, scoring};
use crate::writer::{FLOAT, Message, elsewhere, floats, tensor};

/// Constants that are not what they say.
pub(crate) fn constants() -> Vec<Kind> {
    let of = |constant: Message| scoring(&[linear()], &[constant]);
    let data = [0; 12];
    vec![
        kind(
            "absolute path",
            of(elsewhere("w", &[3, 1], "/etc/passwd")),
            &["\"w\" are in another file"],
        ),
        kind(
            "path upwards",
            of(elsewhere("w", &[3, 1], "../../../../etc/passwd")),
            &["in another file"],
        ),
        kind(
            "path beside",
            of(elsewhere("w", &[3, 1], "weights.bin")),
            &["in another file", "save_as_external_data=False"],
        ),
        kind(
            "symbolic link",
            of(elsewhere("w", &[3, 1], "link.bin")),
            &["in another file"],
        ),
        kind(
            "no path",
            of(elsewhere("w", &[3, 1], "")),
            &["in another file"],
        ),
        kind(
            "a petabyte",
            of(tensor("w", FLOAT, &[1 << 48, 1], &data)),
            &["\"w\" is said to be of shape"],
        ),
        kind(
            "sizes that overflow",
            of(tensor("w", FLOAT, &[1 << 40, 1 << 40], &data)),
            &["is said to be of shape"],
        ),
        kind(
            "negative size",
            of(tensor("w", FLOAT, &[-3, 1], &data)),
            &["size -3 along an axis"],
        ),
        kind(
            "data too short",
            of(tensor("w", FLOAT, &[3, 1], &[0; 5])),
            &["cannot be loaded"],
        ),
        kind(
            "data too long",
            of(tensor("w", FLOAT, &[3, 1], &[0; 64])),
            &["cannot be loaded"],
        ),
        kind(
            "no weight is a number",
            of(floats("w", &[3, 1], &[f32::NAN; 3])),
            &["golden.json", "no probability"],
        ),
        kind(
            "infinite weights",
            of(floats("w", &[3, 1], &[f32::INFINITY; 3])),
            &["golden.json", "no probability"],
        ),
    ]
}
