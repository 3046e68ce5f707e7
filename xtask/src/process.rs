//! A child process that never outlives us, however we end.
//!
//! A destructor does not run in a process that is killed. So a shell stands beside each child and reads from a pipe that
//! only we hold open: at its end, whatever ended us, the shell kills the child. It needs `sh`, and nothing else.

use std::{
    ffi::OsStr,
    fs,
    io::Write,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use crate::shell::Result;

/// The shell becomes the child (`exec`), so that the child's id is known and its end can be waited for. Before that it
/// leaves the guard behind. A line on the pipe sends the guard away; the end of the pipe makes it act. It ignores the
/// hang-up that the system sends to the group of a stopped child when we end.
const GUARDED: &str = r#"
exec 3<&0 </dev/null
{ trap '' HUP; read -r _ <&3 || { kill -9 $$; [ -z "$0" ] || rm -rf -- "$0"; }; } >/dev/null 2>&1 &
exec "$@" 3<&-
"#;

/// How often the end of a process is looked for.
const LOOK: Duration = Duration::from_millis(5);
/// How long a process may take to stand still; it needs microseconds.
const STOPPING: Duration = Duration::from_secs(10);

/// A child process; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// The guard's pipe: it ends with us.
    guard: Option<ChildStdin>,
}

impl Process {
    /// A command whose child will have a guard, for [`spawn`](Self::spawn). If we are killed, the guard removes the
    /// directory, too.
    pub fn command(program: impl AsRef<OsStr>, directory: Option<&Path>) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", GUARDED]).arg(directory.unwrap_or(Path::new(""))).arg(program);
        // A group of its own: what the terminal sends to us by Ctrl-C is not meant for the child.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }

    /// Starts what [`command`](Self::command) made. The child has nothing to read from its input.
    ///
    /// # Errors
    ///
    /// If there is no `sh`. A program that does not exist ends with code 127.
    pub fn spawn(mut command: Command) -> Result<Self> {
        let child = command.stdin(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| format!("`sh`, which guards a process, cannot be run: {error}"))?;
        let guard = child.stdin.take();
        Ok(Self { child, guard })
    }

    /// What it writes, if its output is piped and was not taken yet.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended; none while it runs.
    ///
    /// # Errors
    ///
    /// If the system does not tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let ended = self.child.try_wait().map_err(|error| format!("the end of process {}: {error}", self.id()))?;
        if ended.is_some() {
            self.dismiss_guard();
        }
        Ok(ended)
    }

    /// Waits for its end; none if it still runs when the time is over.
    ///
    /// # Errors
    ///
    /// As [`ended`](Self::ended).
    pub fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.ended()?;
            if ended.is_some() || Instant::now() >= deadline {
                return Ok(ended);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Stops it where it stands, with all its threads, until [`resume`](Self::resume).
    ///
    /// # Errors
    ///
    /// If the process has ended, or does not stop.
    pub fn pause(&mut self) -> Result {
        self.signal("STOP")?;
        // A signal is on its way when it is sent: until the process has met it, it goes on, and a signal of a lower number
        // that is sent meanwhile comes first.
        let deadline = Instant::now() + STOPPING;
        while !self.is_stopped() {
            if Instant::now() >= deadline {
                return Err(format!("process {} does not stop in {STOPPING:?}", self.id()));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Whether each of its threads stands still. Systems other than Linux do not tell without further programs; there it is
    /// taken for granted.
    fn is_stopped(&self) -> bool {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.id())) else { return true };
        threads.filter_map(|thread| thread.ok()).all(|thread| {
            // After the name, which stands in parentheses and may contain any character, comes the state.
            let stat = fs::read_to_string(thread.path().join("stat"));
            // A thread that is gone does not go on either.
            stat.map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T")))
        })
    }

    /// Lets it go on after [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// If the process has ended.
    pub fn resume(&mut self) -> Result {
        self.signal("CONT")
    }

    /// Sends a signal by its name, such as `TERM`.
    ///
    /// # Errors
    ///
    /// If the process has ended.
    pub fn signal(&mut self, name: &str) -> Result {
        if let Some(status) = self.ended()? {
            return Err(format!("process {} cannot get {name}: it has ended ({status})", self.id()));
        }
        // Built into the shell; not every machine has `kill` as a program.
        let sent = Command::new("sh").args(["-c", r#"kill -s "$0" "$1""#, name, &self.id().to_string()]).status();
        match sent {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{name} was not sent to process {}: {status}", self.id())),
            Err(error) => Err(format!("{name} was not sent to process {}: {error}", self.id())),
        }
    }

    /// Ends it as `kill -9` does, and waits until it is gone. Does nothing if it has ended.
    pub fn kill(&mut self) {
        // In this order: the id is not given to another process before we have waited, and the guard is there until the
        // child is dead. An error means that it has ended already.
        let _ = self.child.kill();
        self.dismiss_guard();
        let _ = self.child.wait();
    }

    fn dismiss_guard(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            // An error means that it is gone, which is what is wanted.
            let _ = guard.write_all(b"\n");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_ends_with_its_code_by_a_signal_and_by_being_dropped() -> Result {
        let run = |script: &str| {
            let mut command = Process::command("sh", None);
            command.args(["-c", script]);
            Process::spawn(command)
        };
        let ended = run("exit 3")?.wait(Duration::from_secs(20))?;
        assert_eq!(ended.and_then(|status| status.code()), Some(3));

        let mut stopped = run("exec sleep 60")?;
        stopped.pause()?;
        stopped.signal("TERM")?;
        assert_eq!(stopped.wait(Duration::from_millis(50))?, None, "a stopped process does not hear");
        stopped.resume()?;
        assert!(stopped.wait(Duration::from_secs(20))?.is_some());
        assert!(stopped.signal("TERM").is_err(), "it has ended");

        let dropped = run("exec sleep 60")?;
        let id = dropped.id().to_string();
        drop(dropped);
        let found = Command::new("sh").args(["-c", r#"kill -0 "$0""#, &id]).stderr(Stdio::null()).status();
        assert!(!found.expect("there is a shell").success(), "process {id} is still there");
        Ok(())
    }
}
