//! What the tests share.

pub mod proxy;

use std::{
    io,
    sync::{Arc, Mutex},
};

use catga::{Command, Event};
use serde::{Deserialize, Serialize};

/// What handlers did, in order; every clone is the same log.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Adds a line.
    pub fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap_or_else(|error| error.into_inner()).push(line.into());
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(|error| error.into_inner()).clone()
    }

    /// How many lines are equal to this one.
    pub fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|found| *found == line).count()
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.lines().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What was logged.
#[derive(Clone, Default)]
pub struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(|error| error.into_inner()).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    /// How many lines contain this text.
    pub fn lines(&self, text: &str) -> usize {
        let written = self.0.lock().unwrap_or_else(|error| error.into_inner());
        String::from_utf8_lossy(&written).lines().filter(|line| line.contains(text)).count()
    }
}

/// A command whose handler lives in the plug-in.
#[derive(Command, Clone, Serialize, Deserialize)]
#[response(String)]
pub struct Greet {
    /// Who is greeted.
    pub name: String,
}

/// What the plug-in emits, and handles.
#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
pub struct Greeted {
    /// Who was greeted.
    pub name: String,
}
