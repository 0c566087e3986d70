//! The clients that people start from, against a running service: one that knows only the address, and those of
//! docs/clients.md, which are held to what is said there.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::{self, Serving};

/// Starts the service that clients are tried on.
fn serving(library: &Path) -> anyhow::Result<Serving> {
    let tollgate = tools::build()?;
    let folder = tools::root()?.join("target/clients");
    tools::serve(&tollgate, Path::new("policy"), library, &folder)
}

/// A client that knows only the address lists the services and scores, built from reflection alone.
pub(crate) fn by_reflection(library: &Path) -> anyhow::Result<()> {
    let serving = serving(library)?;
    let python = tools::python_environment("client", "scorer/tests/python/requirements.txt")?;
    let mut client = Command::new(python);
    client
        .arg("scorer/tests/python/reflection_client.py")
        .arg(&serving.addresses.grpc);
    tools::run(&mut client)
}

/// The worked clients keep their deadline, try again only where that helps, and decide without an answer.
pub(crate) fn worked(library: &Path) -> anyhow::Result<()> {
    let serving = serving(library)?;
    let python = tools::python_environment("clients", "docs/clients/python/requirements.txt")?;
    let generated = generate(&python)?;
    let in_python = [python.as_os_str(), "docs/clients/python/client.py".as_ref()];
    let in_rust = rust_client()?;
    for client in [&in_python[..], &[in_rust.as_os_str()]] {
        let mut check = Command::new(&python);
        check
            .arg("docs/clients/python/check_client.py")
            .arg(&serving.addresses.grpc)
            .arg("--")
            .args(client)
            .env("PYTHONPATH", &generated);
        tools::run(&mut check)?;
    }
    Ok(())
}

/// What the Python client imports, generated as docs/clients.md says.
fn generate(python: &Path) -> anyhow::Result<PathBuf> {
    let folder = tools::root()?.join("target/clients/python");
    std::fs::create_dir_all(&folder)?;
    let mut protoc = Command::new(python);
    protoc
        .args(["-m", "grpc_tools.protoc", "-I", "proto"])
        .arg(format!("--python_out={}", folder.display()))
        .arg(format!("--grpc_python_out={}", folder.display()))
        .arg("proto/tollgate/v1/scoring.proto");
    tools::run(&mut protoc)?;
    Ok(folder)
}

/// The whole workspace, whose features `cargo test` has built it with already.
fn rust_client() -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--workspace", "--locked", "--example", "score"]);
    tools::run(&mut cargo)?;
    let release = tools::release()?;
    Ok(release.with_file_name("debug").join("examples/score"))
}
