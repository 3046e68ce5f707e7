//! What the journals of the workers say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

/// The journals of one test, one for each node.
pub(crate) struct Journals(pub(crate) PathBuf);

/// How often each number stands in a journal behind certain words.
pub(crate) type Counts = BTreeMap<u32, usize>;

impl Journals {
    /// Every whole line of a node.
    pub(crate) fn lines(&self, node: &str) -> Vec<String> {
        let text = fs::read_to_string(self.0.join(node)).unwrap_or_default();
        text.split_inclusive('\n').filter_map(|line| Some(line.strip_suffix('\n')?.to_owned())).collect()
    }

    /// The lines of a node that begin with these words, and what follows them.
    pub(crate) fn behind(&self, node: &str, words: &str) -> Vec<String> {
        let lines = self.lines(node).into_iter();
        lines.filter_map(|line| Some(line.strip_prefix(words)?.trim_start().to_owned())).collect()
    }

    /// The numbers that follow these words: `stored`, `began all`, `ended group`.
    pub(crate) fn numbers(&self, nodes: &[&str], words: &str) -> Counts {
        let mut counts = Counts::new();
        for rest in nodes.iter().flat_map(|node| self.behind(node, words)) {
            let number = rest.split(' ').next().unwrap_or_default().parse();
            *counts.entry(number.unwrap_or_else(|_| panic!("`{words} {rest}` has no number"))).or_default() += 1;
        }
        counts
    }

    /// The numbers whose publisher was told that they are stored.
    pub(crate) fn stored(&self, publisher: &str) -> BTreeSet<u32> {
        self.numbers(&[publisher], "stored").into_keys().collect()
    }

    /// The numbers whose publisher was told that they are certainly not stored.
    pub(crate) fn not_stored(&self, publisher: &str) -> BTreeSet<u32> {
        let refused = self.behind(publisher, "refused").into_iter();
        refused.filter_map(|rest| Some(rest.split_once(" NotStarted ")?.0.parse().unwrap())).collect()
    }
}

/// How many runs there were beyond the first of each number.
pub(crate) fn repeats(counts: &Counts) -> usize {
    counts.values().map(|count| count - 1).sum()
}
