//! A ring of servers, drawn: which of them hold how much.
//!
//! The picture is for the eye; what it says stands in a table beside it, too.

use super::shown;
use askama::Template;
use std::f64::consts::TAU;

/// Servers that are drawn; more would be dots on dots.
const DRAWN_MAX: usize = 128;
/// Servers that are drawn with their names.
const NAMED_MAX: usize = 28;
/// Characters of a name that are drawn.
const NAME_LEN_MAX: usize = 14;
/// Half the side of the picture, and the radius of the ring in it.
const MIDDLE: f64 = 260.0;
const RING: f64 = 170.0;

/// What is drawn of one server.
pub(crate) struct Spot {
    pub(crate) name: String,
    /// What stands in the circle: how many shares, or nothing.
    pub(crate) count: u64,
    /// The colour of the circle: a class of the style sheet.
    pub(crate) class: &'static str,
    /// What the circle says when it is pointed at.
    pub(crate) says: String,
}

/// The picture.
#[derive(Template)]
#[template(path = "map.html")]
pub(crate) struct Map {
    /// What the whole picture says.
    label: String,
    places: Vec<Place>,
    /// What stands in the middle.
    middle: [String; 2],
}

struct Place {
    x: String,
    y: String,
    radius: String,
    /// Where the name stands, and which end of it is there.
    name_x: String,
    name_y: String,
    anchor: &'static str,
    name: String,
    count: String,
    class: &'static str,
    says: String,
    /// Where the line to the middle begins, if the server holds anything.
    linked: bool,
}

/// Draws servers in their order, clockwise from the top.
pub(crate) fn draw(label: String, middle: [String; 2], spots: &[Spot]) -> String {
    let drawn = &spots[..spots.len().min(DRAWN_MAX)];
    let most = drawn.iter().map(|spot| spot.count).max().unwrap_or(0).max(1);
    // The circles of many servers must not touch each other.
    let room = (TAU * RING / drawn.len().max(1) as f64 / 2.0 - 2.0).clamp(3.0, 26.0);
    let place = |(index, spot): (usize, &Spot)| {
        let angle = TAU * index as f64 / drawn.len() as f64 - TAU / 4.0;
        let at = |radius: f64| (MIDDLE + radius * angle.cos(), MIDDLE + radius * angle.sin());
        let (x, y) = at(RING);
        let (name_x, name_y) = at(RING + room + 10.0);
        let share = (spot.count as f64 / most as f64).sqrt();
        let radius = if spot.count == 0 { room * 0.55 } else { room * (0.65 + 0.35 * share) };
        let named = drawn.len() <= NAMED_MAX;
        let number = |value: f64| format!("{value:.1}");
        Place {
            x: number(x),
            y: number(y),
            radius: number(radius),
            name_x: number(name_x),
            name_y: number(name_y),
            anchor: match angle.cos() {
                side if side > 0.25 => "start",
                side if side < -0.25 => "end",
                _ => "middle",
            },
            name: if named { short(&spot.name) } else { String::new() },
            count: if spot.count > 0 && room > 9.0 { spot.count.to_string() } else { String::new() },
            class: spot.class,
            says: shown(&spot.says),
            linked: spot.count > 0,
        }
    };
    let places = drawn.iter().enumerate().map(place).collect();
    super::render(&Map { label: shown(&label), places, middle })
}

fn short(name: &str) -> String {
    let name = shown(name);
    if name.chars().count() <= NAME_LEN_MAX {
        return name;
    }
    name.chars().take(NAME_LEN_MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(name: &str, count: u64) -> Spot {
        Spot { name: name.into(), count, class: "holds", says: format!("{name} has {count}") }
    }

    #[test]
    fn names_of_anybodys_making_are_escaped() {
        let spots = [spot("<script>\"&", 2), spot("a name that is far too long for the picture", 0)];
        let svg = draw("two <servers>".into(), [String::new(), String::new()], &spots);
        assert!(!svg.contains("<script>") && svg.contains("&#60;script&#62;"), "{svg}");
        assert!(svg.contains("a name that i…"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 3, "and the middle");
        assert_eq!(svg.matches("<line").count(), 1, "only who holds something is linked");
    }

    #[test]
    fn no_server_and_a_thousand() {
        let empty = || [String::new(), String::new()];
        assert!(draw("none".into(), empty(), &[]).starts_with("<svg"));
        let many: Vec<Spot> = (0..1_000).map(|number| spot("s", number)).collect();
        assert_eq!(draw("many".into(), empty(), &many).matches("<circle").count(), DRAWN_MAX + 1);
    }
}
