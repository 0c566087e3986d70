//! Files that are something else.

use super::{Kind, kind, linear, scoring, weights};
use crate::writer::{Message, graph};

/// Files that are something else.
pub(crate) fn files() -> Vec<Kind> {
    let file = |name, bytes: &[u8], says| kind(name, Message(bytes.to_vec()), says);
    vec![
        file("empty", b"", &["it is empty"]),
        file("a text", b"this is not a model", &["it is a text"]),
        file("a page", b"<html>404 not found</html>\n", &["it is a text"]),
        file(
            "zip",
            b"PK\x03\x04\x14\0\0\0\x08\0",
            &["zip archive", "torch.onnx.export"],
        ),
        file("gzip", b"\x1f\x8b\x08\0\0\0\0\0", &["gzip", "unpack"]),
        file(
            "pickle",
            b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c",
            &["pickle", "skl2onnx"],
        ),
        file("hdf5", b"\x89HDF\r\n\x1a\n\0", &["HDF5", "tf2onnx"]),
        file(
            "runtime format",
            b"\x18\0\0\0ORTM\0\0",
            &["ONNX Runtime's own format"],
        ),
        file(
            "git lfs",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            &["Git LFS", "git lfs pull"],
        ),
        file("zeros", &[0; 4096], &["no model in ONNX format"]),
        file("ones", &[0xff; 4096], &["no model in ONNX format"]),
        file(
            "elf",
            b"\x7fELF\x02\x01\x01\0\0\0",
            &["no model in ONNX format"],
        ),
        kind(
            "no graph",
            Message::default().whole(1, 8),
            &["no model in ONNX format"],
        ),
        kind(
            "two graphs",
            scoring(&[linear()], &[weights()]).message(7, &graph(&[], &[], &[], &[])),
            &["two graphs"],
        ),
    ]
}
