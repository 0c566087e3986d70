//! The feature store's bench, with the allocator that the service has. Started by `cargo xtask bench features`.

use clap::Parser;
use tollgate_benches::features::{Arguments, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    run(&Arguments::parse())
}
