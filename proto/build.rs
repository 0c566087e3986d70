//! Compiles the `.proto` files without an installed `protoc` and keeps their descriptors for reflection and JSON.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

const FILES: [&str; 2] = ["tollgate/v1/scoring.proto", "tollgate/v1/events.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(
        out.join("tollgate.v1.descriptors.bin"),
        descriptors.encode_to_vec(),
    )?;
    // Maps in order, so that the same message is always the same bytes: retries are answered alike, and contents compared.
    tonic_prost_build::configure()
        .btree_map(".tollgate.v1")
        .compile_fds(descriptors)?;
    for file in FILES {
        println!("cargo:rerun-if-changed={file}");
    }
    Ok(())
}
