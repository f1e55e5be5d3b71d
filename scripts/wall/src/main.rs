//! The wall of `src/`: which module may import which ([`rules`] says it), and no circles. It ends with 1 and says
//! where, if something imports what it may not.
//!
//! `archunit` finds what each file imports, from its syntax: what stands inside the parentheses of a macro, it does not
//! see. Modules of tests may import everything.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use archunit::{
    DependencyReference, Edge, ExtractionDiagnostic, ExtractionDiagnosticKind, Filter, ImportKind,
    LayerDefinition, PatternError, ProjectLocator, ProjectedEdge, RegexFactory, SourceOptions,
    extract_dependencies, gather_layer_dependency_violations, locate_project_from, project_cycles,
};

mod rules;
mod tests_of;

use rules::LAYERS;
use tests_of::Tests;

/// How many circles are printed: one import may close many.
const PRINTED: usize = 10;

/// From one file to another, and the lines of the first that name the other.
type Arrows = BTreeMap<(String, String), BTreeSet<usize>>;

fn main() -> ExitCode {
    // Cargo says where this crate is now: the one that was built may stand elsewhere.
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../..");
    match faults(&root) {
        Ok((arrows, faults)) => {
            for fault in &faults {
                eprintln!("{fault}");
            }
            println!("{arrows} imports between files, {} faults", faults.len());
            if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns how many arrows there are between files, and what is wrong with them, a text each.
fn faults(root: &Path) -> Result<(usize, Vec<String>), Box<dyn Error>> {
    let project = locate_project_from(&ProjectLocator::from_path(root))?;
    let extraction = extract_dependencies(&project, SourceOptions::default())?;
    let tests = Tests::of(root, extraction.references());
    let references: Vec<_> =
        extraction.references().iter().filter(|reference| !tests.has(reference)).collect();
    let arrows = arrows_of(&references);
    let (layers, allowed) = layers()?;

    let mut faults = unread(extraction.diagnostics());
    faults.extend(unplaced(&references, &layers));
    faults.extend(strangers(&references, &layers));
    let upward: BTreeMap<_, _> =
        gather_layer_dependency_violations(&projected(arrows.keys()), &layers, &allowed, &BTreeMap::new())
            .into_iter()
            .map(|found| {
                let text = format!("{} may not import {}", found.source_layer, found.target_layer);
                ((found.dependency.source_label, found.dependency.target_label), text)
            })
            .collect();
    for (arrow, text) in &upward {
        faults.push(format!("{}: {text} ({})", place(&arrows, arrow), arrow.1));
    }

    // What imports upwards has been said; the circles that it closes would only repeat it.
    let rest: Vec<_> = arrows.keys().filter(|arrow| !upward.contains_key(*arrow)).collect();
    let circles = project_cycles(&projected(rest.iter().copied()));
    for circle in circles.iter().take(PRINTED) {
        let steps = circle.iter().map(|step| {
            let arrow = (step.source_label.clone(), step.target_label.clone());
            format!("\n  {} imports {}", place(&arrows, &arrow), arrow.1)
        });
        faults.push(format!("a circle:{}", steps.collect::<String>()));
    }
    if circles.len() > PRINTED {
        faults.push(format!("{} more circles", circles.len() - PRINTED));
    }
    Ok((arrows.len(), faults))
}

/// Returns who imports whom. A name counts as imported from where it is defined: a `use` on the way to it is seen
/// through, since a parent's imports are what its children have by `super::`.
fn arrows_of(references: &[&DependencyReference]) -> Arrows {
    let mut passed_on = BTreeMap::new();
    for reference in references {
        if matches!(reference.kind(), ImportKind::Use | ImportKind::PubUse)
            && let Some(target) = reference.internal_target()
        {
            passed_on.insert((reference.source(), last(reference)), target);
        }
    }
    let mut arrows = Arrows::new();
    for reference in references {
        // A module declares its children and passes on what they have: that is not to depend on them.
        if matches!(reference.kind(), ImportKind::Mod | ImportKind::PubUse) {
            continue;
        }
        let Some(mut target) = reference.internal_target() else { continue };
        // As in `pub(in crate::core)`: who may see it, not who is needed.
        let is_above =
            || target.strip_suffix("mod.rs").is_some_and(|folder| reference.source().starts_with(folder));
        if reference.kind() == ImportKind::PathReference && name_in(target, reference).is_none() && is_above()
        {
            continue;
        }
        let mut seen = BTreeSet::new();
        while seen.insert(target)
            && let Some(next) = name_in(target, reference).and_then(|name| passed_on.get(&(target, name)))
        {
            target = next;
        }
        if target != reference.source() {
            let arrow = (reference.source().to_owned(), target.to_owned());
            arrows.entry(arrow).or_default().insert(reference.line());
        }
    }
    arrows
}

/// Returns the name that `reference` takes from the module in `file`: the first of its path that does not lead there.
fn name_in<'a>(file: &str, reference: &'a DependencyReference) -> Option<&'a str> {
    let leads = |name: &str| {
        matches!(name, "crate" | "self" | "super")
            || file.split('/').any(|part| part.trim_end_matches(".rs") == name)
    };
    reference.referenced_path().split("::").find(|name| !leads(name))
}

fn last(reference: &DependencyReference) -> &str {
    reference.referenced_path().rsplit("::").next().unwrap_or_default()
}

type Allowed = BTreeMap<String, BTreeSet<String>>;

fn layers() -> Result<(Vec<LayerDefinition>, Allowed), PatternError> {
    let factory = RegexFactory::default();
    let mut definitions = Vec::new();
    let mut allowed = Allowed::new();
    for layer in LAYERS {
        let filters = layer.files.iter().map(|files| factory.path_matcher(*files));
        definitions.push(LayerDefinition::new(layer.name, filters.collect::<Result<Vec<Filter>, _>>()?));
        allowed.insert(layer.name.to_owned(), layer.imports.iter().map(|name| (*name).to_owned()).collect());
    }
    Ok((definitions, allowed))
}

/// Says what could not be looked at. Names that are only unknown are those of types, most of them.
fn unread(diagnostics: &[ExtractionDiagnostic]) -> Vec<String> {
    use ExtractionDiagnosticKind::{AmbiguousReference, UnknownReference};
    let told = |kind| !matches!(kind, AmbiguousReference | UnknownReference);
    let text = |found: &ExtractionDiagnostic| {
        let (line, detail) =
            (found.line().unwrap_or_default(), found.detail().or(found.subject()).unwrap_or_default());
        format!("{}:{line}: {} {detail}", found.source(), found.kind().as_str())
    };
    diagnostics.iter().filter(|found| told(found.kind())).map(text).collect()
}

/// Says which files belong to no layer: no rule would hold for them.
fn unplaced(references: &[&DependencyReference], layers: &[LayerDefinition]) -> Vec<String> {
    let files: BTreeSet<_> = references.iter().map(|reference| reference.source()).collect();
    files
        .into_iter()
        .filter(|file| !rules::OUTSIDE.contains(file) && !layers.iter().any(|layer| layer.matches(file)))
        .map(|file| format!("{file} belongs to no layer: give it one in scripts/wall/src/rules.rs"))
        .collect()
}

/// Says who names something outside of the crate that its layer may not know.
fn strangers(references: &[&DependencyReference], layers: &[LayerDefinition]) -> Vec<String> {
    let mut faults = BTreeSet::new();
    for reference in references.iter().filter(|reference| reference.external_target().is_some()) {
        let named = reference.referenced_path();
        let Some(layer) = layers.iter().position(|layer| layer.matches(reference.source())) else { continue };
        let Some(layer) = LAYERS.get(layer) else { continue };
        for barred in layer.bars {
            if named == *barred || named.strip_prefix(barred).is_some_and(|rest| rest.starts_with("::")) {
                let (source, line) = (reference.source(), reference.line());
                faults.insert(format!("{source}:{line}: {} may not name {barred}", layer.name));
            }
        }
    }
    faults.into_iter().collect()
}

fn projected<'a>(arrows: impl Iterator<Item = &'a (String, String)>) -> Vec<ProjectedEdge> {
    arrows
        .map(|(from, to)| ProjectedEdge::new(from, to, [Edge::new(from, to, false, [ImportKind::Use])]))
        .collect()
}

fn place(arrows: &Arrows, arrow: &(String, String)) -> String {
    let line = arrows.get(arrow).and_then(|lines| lines.first()).copied().unwrap_or_default();
    format!("{}:{line}", arrow.0)
}
