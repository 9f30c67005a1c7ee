//! Tables against a map, and against each other.

use super::*;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use proptest::collection::vec;
use proptest::prelude::*;

const NAMES: [&str; 5] = ["a", "b", "c", "e\u{301}", "\u{e9}"];

/// What the model knows of a link: its child, and its metadata apart from the times.
type Model = BTreeMap<String, (Child, String)>;

fn any_child() -> impl Strategy<Value = Child> {
    (0..4u8, any::<bool>()).prop_map(|(seed, is_folder)| if is_folder { folder(seed) } else { file(seed) })
}

fn any_replace() -> impl Strategy<Value = Replace> {
    prop_oneof![Just(Replace::Anything), Just(Replace::OnlyFiles), Just(Replace::Nothing)]
}

fn any_only() -> impl Strategy<Value = Only> {
    prop_oneof![Just(Only::Anything), Just(Only::Files), Just(Only::Directories)]
}

fn any_metadata() -> impl Strategy<Value = Metadata> {
    (0..3u8).prop_map(|number| metadata(&format!("{{\"n\": {number}}}")))
}

/// An edit among `names`, by an author who has not looked.
fn any_edit(names: &'static [&'static str]) -> impl Strategy<Value = Edit> {
    let any_name = || proptest::sample::select(names).prop_map(name);
    let seen = || Just(Seen::Unchecked);
    prop_oneof![
        3 => (any_name(), any_child(), proptest::option::of(any_metadata()), any_replace(), seen())
            .prop_map(|(name, child, metadata, replace, seen)| Edit::Link { name, child, metadata, replace, seen }),
        1 => (any_name(), any::<bool>(), any_only(), seen())
            .prop_map(|(name, must_exist, only, seen)| Edit::Unlink { name, must_exist, only, seen }),
        1 => (any_name(), any_name(), any_replace()).prop_map(|(from, to, replace)| Edit::Rename {
            from, to, replace, seen_from: Seen::Unchecked, seen_to: Seen::Unchecked
        }),
        1 => (any_name(), any_metadata(), seen())
            .prop_map(|(name, metadata, seen)| Edit::SetMetadata { name, metadata, seen }),
    ]
}

/// What an edit should do, said as simply as possible; whether it succeeds.
fn expect(model: &mut Model, edit: &Edit) -> bool {
    let is_folder = |child: &Child| child.kind() == ChildKind::Directory;
    let may_take = |model: &Model, name: &Name, replace: Replace| match (model.get(name.as_str()), replace) {
        (None, _) | (_, Replace::Anything) => true,
        (Some((there, _)), Replace::OnlyFiles) => !is_folder(there),
        (Some(_), Replace::Nothing) => false,
    };
    match edit {
        Edit::Link { name, child, metadata, replace, .. } => {
            let possible = may_take(model, name, *replace);
            if possible {
                let old = model.get(name.as_str()).map_or("{}".into(), |(_, old)| old.clone());
                let metadata = metadata.as_ref().map_or(old, Metadata::to_json);
                model.insert(name.as_str().into(), (child.clone(), metadata));
            }
            possible
        }
        Edit::Unlink { name, must_exist, only, .. } => {
            let possible = match (model.get(name.as_str()), only) {
                (None, _) => !must_exist,
                (_, Only::Anything) => true,
                (Some((there, _)), Only::Files) => !is_folder(there),
                (Some((there, _)), Only::Directories) => is_folder(there),
            };
            if possible {
                model.remove(name.as_str());
            }
            possible
        }
        Edit::Rename { from, to, replace, .. } => {
            let Some(moved) = model.get(from.as_str()).cloned() else { return false };
            let possible = from == to || may_take(model, to, *replace);
            if possible {
                model.remove(from.as_str());
                model.insert(to.as_str().into(), moved);
            }
            possible
        }
        Edit::SetMetadata { name, metadata, .. } => match model.get_mut(name.as_str()) {
            Some((_, there)) => {
                *there = metadata.to_json();
                true
            }
            None => false,
        },
    }
}

fn contents(table: &Table) -> Model {
    let without_times = |metadata: &Metadata| match metadata.get("n") {
        Some(number) => format!("{{\"n\": {number}}}"),
        None => "{}".into(),
    };
    let row = |(name, entry): (&Name, Entry)| {
        let metadata = without_times(&entry.metadata.expect("metadata"));
        (name.as_str().into(), (entry.child.expect("a child"), metadata))
    };
    table.iter().map(row).collect()
}

fn unpacked(table: &Table) -> Table {
    Table::unpack(table.pack().into(), writer()).expect("a table just packed")
}

proptest! {
    #[test]
    fn a_table_is_a_map(edits in vec(any_edit(&NAMES), 0..25)) {
        let (mut table, mut model) = (Table::empty(writer()), Model::new());
        for edit in edits {
            let possible = expect(&mut model, &edit);
            prop_assert_eq!(apply(&mut table, edit).is_ok(), possible);
            prop_assert_eq!(contents(&table), model.clone());
            prop_assert_eq!(table.packed_len(), table.pack().len());
            prop_assert_eq!(contents(&unpacked(&table)), model.clone());
            prop_assert_eq!(unpacked(&table).pack(), table.pack());
        }
    }

    #[test]
    fn a_batch_is_its_edits_in_order(edits in vec(any_edit(&NAMES), 0..8)) {
        let mut at_once = table(&[("a", file(1)), ("b", folder(2))]);
        let mut one_by_one = at_once.clone();
        let before = at_once.pack();
        let result = at_once.apply(&edits, NOW);
        let failed = edits.iter().position(|edit| apply(&mut one_by_one, edit.clone()).is_err());
        prop_assert_eq!(result.as_ref().err().map(|error| error.at), failed);
        prop_assert_eq!(at_once.pack(), if failed.is_some() { before } else { one_by_one.pack() });
        prop_assert_eq!(at_once.packed_len(), at_once.pack().len());
    }

    #[test]
    fn edits_of_different_names_commute(
        mine in vec(any_edit(&["a", "b"]), 0..6),
        theirs in vec(any_edit(&["c", "d"]), 0..6),
    ) {
        let children = [("a", file(1)), ("b", folder(2)), ("c", file(3)), ("d", folder(4))];
        let (mut one, mut other) = (table(&children), table(&children));
        let results = (one.apply(&mine, NOW).is_ok(), one.apply(&theirs, NOW).is_ok());
        let crossed = (other.apply(&theirs, NOW).is_ok(), other.apply(&mine, NOW).is_ok());
        prop_assert_eq!(results, (crossed.1, crossed.0));
        prop_assert_eq!(one.pack(), other.pack());
    }

    /// Of two authors who saw the same, the second changes nothing that the first has made: either
    /// that is what both wanted, or the second is told.
    #[test]
    fn nobody_undoes_what_he_has_not_seen(
        there in proptest::option::of(any_child()),
        first in proptest::option::of(any_child()),
        second in proptest::option::of(any_child()),
    ) {
        let children: Vec<_> = there.iter().map(|child| ("x", child.clone())).collect();
        let mut table = table(&children);
        let make = |wanted: &Option<Child>| match wanted {
            Some(child) => link("x", child.clone(), look(&table, "x")),
            None => Edit::Unlink { name: name("x"), must_exist: false, only: Only::Anything, seen: look(&table, "x") },
        };
        let (edits, wanted) = ([make(&first), make(&second)], second);
        apply(&mut table, edits[0].clone()).expect("it is as it was seen");
        let after_first = table.pack();
        let outcome = apply(&mut table, edits[1].clone());
        if first == there {
            prop_assert!(outcome.is_ok());
        } else if wanted == first {
            prop_assert!(matches!(outcome, Ok(Outcome::Already)));
            prop_assert_eq!(table.pack(), after_first);
        } else {
            let told = matches!(outcome, Err(EditProblem::Changed { .. }));
            prop_assert!(told);
            prop_assert_eq!(table.pack(), after_first);
        }
    }
}
