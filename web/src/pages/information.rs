//! What is known of a file or directory: how it is coded, where its shares are, what gives which right.

use super::details::Linked;
use super::figures::size;
use super::map::{Spot, draw};
use super::{Crumb, Frame, shown};
use crate::gateway::size_in;
use askama::Template;
use std::collections::{BTreeMap, BTreeSet};
use tallac_core::capability::Capability;
use tallac_core::directory::Child;
use tallac_core::download::{Holder, Locations};

/// What is known of a file or directory.
#[derive(Template)]
#[template(path = "information.html")]
pub(crate) struct Information {
    pub(crate) frame: Frame,
    pub(crate) crumbs: Vec<Crumb>,
    pub(crate) here: String,
    pub(crate) is_directory: bool,
    pub(crate) facts: Vec<(&'static str, String)>,
    /// The capabilities, the strongest first, each with what it is good for; none, unless they are wanted.
    pub(crate) caps: Vec<(&'static str, String)>,
    /// Where its shares are; nothing, if it has none.
    pub(crate) shares: Option<Shares>,
    /// How it is linked, if that can be changed.
    pub(crate) link: Option<Linked>,
}

/// Where the shares of something are.
pub(crate) struct Shares {
    /// How well it stands, as a sentence.
    verdict: String,
    /// Whether nothing needs to be done about it.
    well: bool,
    coding: Vec<(&'static str, String)>,
    map: String,
    holders: Vec<Row>,
    /// Servers that have none, by name.
    without: Vec<String>,
    /// Servers that did not tell, and why.
    silent: Vec<(String, String)>,
    unasked: usize,
}

struct Row {
    name: String,
    id: String,
    shares: String,
}

impl Shares {
    pub(crate) fn new(locations: &Locations, cap: &Capability) -> Shares {
        let needed = needed_and_total(cap, locations);
        let newest = locations.servers.iter().filter_map(|holder| holder.shares.as_ref().ok());
        let newest = newest.flatten().filter_map(|(_, version)| *version).max();
        // What is old does not count.
        let counts = |version: &Option<u64>| *version == newest;
        let mut distinct = BTreeSet::new();
        let (mut holders, mut without, mut silent) = (Vec::new(), Vec::new(), Vec::new());
        for holder in &locations.servers {
            let name = shown(&holder.nickname);
            match &holder.shares {
                Ok(shares) if shares.is_empty() => without.push(name),
                Ok(shares) => {
                    distinct.extend(shares.iter().filter(|(_, version)| counts(version)).map(|(n, _)| *n));
                    let shares = shares.iter().map(|(number, version)| match version {
                        Some(version) if Some(*version) != newest => {
                            format!("{number} (old: version {version})")
                        }
                        None if newest.is_some() => format!("{number} (damaged)"),
                        _ => number.to_string(),
                    });
                    let shares = shares.collect::<Vec<_>>().join(", ");
                    holders.push(Row { name, id: holder.server.short(), shares });
                }
                Err(trouble) => silent.push((name, trouble.to_string())),
            }
        }
        let (verdict, well) = verdict(locations, needed, distinct.len(), holders.len());
        let mut coding = Vec::new();
        if let Some((needed, total)) = needed {
            coding.push(("Encoding", format!("any {needed} of {total} shares give it back")));
        }
        if let Some(found) = &locations.coding {
            coding.push(("Segments", format!("{} each", size(found.segment_size))));
            // The capability of a file that never changes tells its size.
            if size_in(cap).is_none() {
                coding.push(("Size", format!("{} ({} bytes)", size(found.size), found.size)));
            }
        }
        if let Some(version) = newest {
            coding.push(("Version", version.to_string()));
        }
        let spots: Vec<Spot> = locations.servers.iter().map(spot).collect();
        let middle = [format!("{} shares", distinct.len()), format!("on {} servers", holders.len())];
        let label = format!("The servers in the order in which they are asked. {verdict}");
        let map = draw(label, middle, &spots);
        Shares { verdict, well, coding, map, holders, without, silent, unasked: locations.unasked }
    }
}

/// What stands in the capability counts more than what a server says.
fn needed_and_total(cap: &Capability, locations: &Locations) -> Option<(u16, u16)> {
    let file = match cap {
        Capability::Directory(cap) => cap.file(),
        cap => cap.clone(),
    };
    match file {
        Capability::Chk(cap) => Some((cap.needed, cap.total)),
        _ => locations.coding.as_ref().map(|coding| (coding.needed, coding.total)),
    }
}

/// How well it stands.
fn verdict(
    locations: &Locations,
    coding: Option<(u16, u16)>,
    found: usize,
    holders: usize,
) -> (String, bool) {
    let Some((needed, total)) = coding.filter(|_| found > 0) else {
        let why =
            if locations.servers.is_empty() { "No server is known" } else { "No server has told of a share" };
        return (format!("{why}: it cannot be read now."), false);
    };
    let (needed, total) = (usize::from(needed), usize::from(total));
    let spread = format!("{found} of {total} shares were found on {holders} servers");
    if found < needed {
        return (format!("{spread}, and {needed} are needed: it cannot be read now."), false);
    }
    match survives(locations, needed) {
        0 => (format!("{spread}. If one of these is lost, it may be lost."), false),
        lost => (format!("{spread}. It survives the loss of any {lost} of them."), found == total),
    }
}

/// How many servers, whichever they are, can be lost before fewer than `needed` shares are left.
fn survives(locations: &Locations, needed: usize) -> usize {
    let newest = locations.servers.iter().filter_map(|holder| holder.shares.as_ref().ok());
    let newest = newest.flatten().filter_map(|(_, version)| *version).max();
    let mut of_server: BTreeMap<usize, BTreeSet<u16>> = BTreeMap::new();
    for (index, holder) in locations.servers.iter().enumerate() {
        for (number, version) in holder.shares.iter().flatten() {
            if *version == newest {
                of_server.entry(index).or_default().insert(*number);
            }
        }
    }
    // Who would be missed most goes first. With copies of one share that is no proof, so a loss counts all
    // the shares of a server: what is told may be too little, never too much.
    let all: BTreeSet<u16> = of_server.values().flatten().copied().collect();
    let mut sizes: Vec<usize> = of_server.values().map(BTreeSet::len).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let mut left = all.len();
    let mut lost = 0;
    for size in sizes {
        left = left.saturating_sub(size);
        if left < needed {
            break;
        }
        lost += 1;
    }
    lost
}

fn spot(holder: &Holder) -> Spot {
    let (count, class, says) = match &holder.shares {
        Ok(shares) if shares.is_empty() => (0, "none", format!("{}: no share", holder.nickname)),
        Ok(shares) => {
            let numbers: Vec<String> = shares.iter().map(|(number, _)| number.to_string()).collect();
            let says = format!("{}: share {}", holder.nickname, numbers.join(", "));
            (shares.len() as u64, "holds", says)
        }
        Err(trouble) => (0, "silent", format!("{}: {trouble}", holder.nickname)),
    };
    Spot { name: holder.nickname.clone(), count, class, says }
}

/// What gives which right to something, the strongest first.
pub(crate) fn caps(child: &Child) -> Vec<(&'static str, String)> {
    let verify = child.capability().and_then(Capability::verify_cap);
    let rights = [
        ("To read and change it", child.write_cap()),
        ("To read it", child.read_cap()),
        ("To check that it is whole, and nothing else", verify),
    ];
    rights.into_iter().filter_map(|(right, cap)| Some((right, cap?.to_string()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallac_core::download::Coding;
    use tallac_core::identity::ServerId;
    use tallac_core::peers::AskError;
    use tallac_core::task::Trouble;

    fn locations(shares: &[Option<&[u16]>]) -> Locations {
        let servers = shares.iter().enumerate().map(|(index, shares)| Holder {
            server: ServerId([index as u8; 32]),
            nickname: format!("s{index}"),
            shares: match shares {
                Some(shares) => Ok(shares.iter().map(|share| (*share, None)).collect()),
                None => Err(Trouble::Ask(AskError::Unknown)),
            },
        });
        let coding = Some(Coding { needed: 2, total: 4, segment_size: 100, size: 1_000 });
        Locations { servers: servers.collect(), unasked: 0, coding }
    }

    #[track_caller]
    fn check(shares: &[Option<&[u16]>], says: &str, well: bool) {
        let cap: Capability = "URI:DIR2-LIT:".parse().expect("a capability");
        let shares = Shares::new(&locations(shares), &cap);
        assert!(shares.verdict.contains(says), "{}", shares.verdict);
        assert_eq!(shares.well, well, "{}", shares.verdict);
    }

    #[test]
    fn what_is_said_of_how_it_stands() {
        check(&[Some(&[0]), Some(&[1]), Some(&[2]), Some(&[3])], "survives the loss of any 2", true);
        check(&[Some(&[0, 1]), Some(&[2]), Some(&[3]), Some(&[])], "survives the loss of any 1", true);
        check(&[Some(&[0, 1, 2]), Some(&[3])], "If one of these is lost", false);
        check(&[Some(&[0]), Some(&[1]), Some(&[2]), None], "3 of 4 shares were found on 3 servers", false);
        // The same share twice is one share.
        check(
            &[Some(&[1]), Some(&[1]), None],
            "1 of 4 shares were found on 2 servers, and 2 are needed",
            false,
        );
        check(&[Some(&[]), None], "No server has told of a share", false);
        check(&[], "No server is known", false);
    }
}
