//! The models' bench, with the allocator that the service has. Started by `cargo xtask bench models`.

use clap::Parser;
use tollgate_benches::models::{Arguments, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    run(&Arguments::parse())
}
