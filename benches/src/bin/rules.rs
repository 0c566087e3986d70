//! The rules' bench, with the allocator that the service has. Started by `cargo xtask bench rules`.

use clap::Parser;
use tollgate_benches::rules::{Arguments, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    run(&Arguments::parse())
}
