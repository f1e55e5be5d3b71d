//! What is compiled for tests alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use archunit::{DependencyReference, ImportKind};

/// The modules under `#[cfg(test)]`.
#[derive(Debug, Default)]
pub struct Tests {
    files: BTreeSet<String>,
    /// Those that stand in a file with other things, by its name.
    lines: BTreeMap<String, Vec<RangeInclusive<usize>>>,
}

impl Tests {
    /// Finds them by the declarations of modules among `references`.
    pub fn of(root: &Path, references: &[DependencyReference]) -> Self {
        let mut tests = Tests::default();
        let modules = || {
            let declares = |reference: &&DependencyReference| reference.kind() == ImportKind::Mod;
            references.iter().filter(declares).filter_map(|module| Some((module, module.internal_target()?)))
        };
        for (module, target) in modules() {
            let text = fs::read_to_string(root.join(module.source())).unwrap_or_default();
            // The line of a declaration is that of its first attribute.
            let from = || text.lines().enumerate().skip(module.line().saturating_sub(1));
            let heads = from().take_while(|(_, line)| line.starts_with("#[") || line.starts_with("///"));
            if !heads.into_iter().any(|(_, line)| line == "#[cfg(test)]") {
                continue;
            }
            if target != module.source() {
                tests.files.insert(target.to_owned());
            } else if let Some((end, _)) = from().find(|(_, line)| *line == "}") {
                // rustfmt puts the brace that ends a module at the beginning of a line, and no other before it.
                tests.lines.entry(target.to_owned()).or_default().push(module.line()..=end + 1);
            }
        }
        // What a module of tests declares is one, too.
        let mut count = 0;
        while count != tests.files.len() {
            count = tests.files.len();
            for (module, target) in modules() {
                if tests.files.contains(module.source()) {
                    tests.files.insert(target.to_owned());
                }
            }
        }
        tests
    }

    /// Returns whether the reference stands in a test, or leads to what only tests have.
    pub fn has(&self, reference: &DependencyReference) -> bool {
        let lines = self.lines.get(reference.source());
        self.files.contains(reference.source())
            || reference.internal_target().is_some_and(|target| self.files.contains(target))
            || lines.is_some_and(|all| all.iter().any(|lines| lines.contains(&reference.line())))
    }
}
