//! Writes as many message types as `CATGA_TYPES` says, or two.

use std::{env, error::Error, fs, path::Path};

use xtask::generated::{Style, calls, messages};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=CATGA_TYPES");
    let types = env::var("CATGA_TYPES").map_or(Ok(2), |types| types.parse())?;
    let text = messages(Style::Catga, types) + &calls(types);
    fs::write(Path::new(&env::var("OUT_DIR")?).join("types.rs"), text)?;
    Ok(())
}
