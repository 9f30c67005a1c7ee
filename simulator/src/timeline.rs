//! A run as a picture: one page of HTML that needs nothing else, nodes as rows, time from left to right.

use crate::NodeId;
use crate::plan::Plan;
use crate::record::{Mark, MarkKind, Record, Said};
use crate::run::Outcome;
use core::fmt::{self, Write};
use core::time::Duration;
use std::collections::BTreeMap;

/// Height of a node's row, in pixels.
const ROW: usize = 22;

/// The page. `outcome` is that of a run that was watched for its records.
pub fn html(plan: &Plan, outcome: &Outcome) -> String {
    let mut page = String::from(HEAD);
    write_page(&mut page, plan, outcome).expect("a string takes everything");
    page
}

fn write_page(page: &mut String, plan: &Plan, outcome: &Outcome) -> fmt::Result {
    writeln!(page, "<h1>Seed {}: {}</h1>", plan.seed, if outcome.is_good() { "good" } else { "wrong" })?;
    for wrong in &outcome.wrong {
        writeln!(page, "<p class=wrong>{}</p>", escaped(wrong))?;
    }
    page.push_str(LEGEND);
    for (number, record) in outcome.records.iter().enumerate() {
        let title = if number == 0 { "The grid" } else { "Slots, changed by hand" };
        write_world(page, title, record)?;
    }
    page.push_str(SCRIPT);
    Ok(())
}

fn write_world(page: &mut String, title: &str, record: &Record) -> fmt::Result {
    let height = ROW * record.names.len();
    // What comes after the last thing that was done to it is quiet.
    let last = record.marks.iter().map(|mark| mark.at).max().unwrap_or_default() + Duration::from_secs(2);
    let end = record.said.iter().map(|said| said.arrived).max().unwrap_or_default().max(last);
    writeln!(page, "<h2>{title}</h2>")?;
    if record.left_out > 0 {
        let (kept, out) = (record.said.len(), record.left_out);
        writeln!(page, "<p>The first {kept} messages are shown; {out} more are not.</p>")?;
    }
    writeln!(page, "<div class=world><div class=names>")?;
    for name in &record.names {
        writeln!(page, "<div>{}</div>", escaped(name))?;
    }
    let (start, width, all) = (0, millis(last), millis(end).max(millis(last)));
    write!(
        page,
        "</div><div class=drawing><svg viewBox=\"{start} 0 {width:.3} {height}\" data-all={all:.3} "
    )?;
    writeln!(page, "preserveAspectRatio=none style=\"height:{height}px\">")?;
    write_rows(page, record, all)?;
    for Said { from, to, sent, arrived, what } in &record.said {
        let kind = what.split(' ').next().unwrap_or_default();
        let class = match kind {
            "Answer" => "answer",
            "Failure" | "Refusal" => "failure",
            "Hello" | "Welcome" | "Notice" => "hello",
            _ => "request",
        };
        let (x1, x2, y1, y2) = (millis(*sent), millis(*arrived), middle(*from), middle(*to));
        write!(page, "<line class={class} x1={x1:.3} y1={y1} x2={x2:.3} y2={y2}>")?;
        let (from, to) = (name(record, *from), name(record, *to));
        writeln!(page, "<title>{} {from} to {to}, {sent:?} to {arrived:?}</title></line>", escaped(what))?;
    }
    for mark in &record.marks {
        write_mark(page, mark, height)?;
    }
    writeln!(page, "</svg><div class=axis></div></div></div>\n<table>")?;
    // Who is cut off from whom is said once, by the fault that does it.
    for mark in record.marks.iter().filter(|mark| !mark.text.starts_with("block ")) {
        let (at, class) = (mark.at.as_secs_f64(), class_of(mark.kind));
        let who = mark.node.map_or("", |node| name(record, node));
        write!(page, "<tr class={class} data-at={:.3}><td>{at:.6}</td>", millis(mark.at))?;
        writeln!(page, "<td>{}</td><td>{}</td></tr>", escaped(who), escaped(&mark.text))?;
    }
    writeln!(page, "</table>")
}

/// The nodes' rows, and when they were down or stood still.
fn write_rows(page: &mut String, record: &Record, all: f64) -> fmt::Result {
    let mut since: BTreeMap<NodeId, (MarkKind, f64)> =
        (0..record.names.len()).map(|number| (NodeId(number as u32), (MarkKind::Down, 0.0))).collect();
    for number in 0..record.names.len() {
        let y = middle(NodeId(number as u32));
        writeln!(page, "<line class=row x1=0 y1={y} x2={all:.3} y2={y} />")?;
    }
    let mut spans = Vec::new();
    for mark in &record.marks {
        let Some(node) = mark.node else { continue };
        let at = millis(mark.at);
        match mark.kind {
            MarkKind::Down | MarkKind::Paused => {
                if let Some((kind, from)) = since.insert(node, (mark.kind, at)) {
                    spans.push((node, kind, from, at));
                }
            }
            MarkKind::Up | MarkKind::Resumed => {
                spans.extend(since.remove(&node).map(|(kind, from)| (node, kind, from, at)));
            }
            MarkKind::Operation | MarkKind::Fault | MarkKind::Wrong => {}
        }
    }
    spans.extend(since.into_iter().map(|(node, (kind, from))| (node, kind, from, all)));
    for (node, kind, from, to) in spans {
        let (class, y) = (class_of(kind), ROW * node.index() + 3);
        let (width, height) = (to - from, ROW - 6);
        writeln!(page, "<rect class={class} x={from:.3} y={y} width={width:.3} height={height} />")?;
    }
    Ok(())
}

fn write_mark(page: &mut String, mark: &Mark, height: usize) -> fmt::Result {
    let x = millis(mark.at);
    let (y1, y2) = match (mark.kind, mark.node) {
        (MarkKind::Up | MarkKind::Down | MarkKind::Paused | MarkKind::Resumed, _) => return Ok(()),
        (_, Some(node)) => (ROW * node.index(), ROW * node.index() + ROW),
        (MarkKind::Wrong, None) => (0, height),
        (_, None) => (0, height),
    };
    let class = class_of(mark.kind);
    write!(page, "<line class={class} x1={x:.3} y1={y1} x2={x:.3} y2={y2}>")?;
    writeln!(page, "<title>{:?}: {}</title></line>", mark.at, escaped(&mark.text))
}

fn class_of(kind: MarkKind) -> &'static str {
    match kind {
        MarkKind::Operation => "operation",
        MarkKind::Fault => "fault",
        MarkKind::Up => "up",
        MarkKind::Down => "down",
        MarkKind::Paused => "paused",
        MarkKind::Resumed => "resumed",
        MarkKind::Wrong => "wrong",
    }
}

fn name(record: &Record, node: NodeId) -> &str {
    record.names.get(node.index()).map_or("?", String::as_str)
}

fn millis(at: Duration) -> f64 {
    at.as_secs_f64() * 1000.0
}

fn middle(node: NodeId) -> usize {
    ROW * node.index() + ROW / 2
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

const HEAD: &str = r#"<!DOCTYPE html>
<html lang=en><meta charset=utf-8><title>Tallac simulator: timeline</title>
<style>
body { font: 14px sans-serif; margin: 1.5em; color: #222 }
h1 { font-size: 1.3em } p.wrong { color: #b00; font-weight: bold }
.world { display: flex; border: 1px solid #ccc; max-width: 100% }
.names { flex: none; padding: 0 .6em; background: #f4f4f4 }
.names div { height: 22px; line-height: 22px; white-space: nowrap }
.drawing { flex: auto; overflow: hidden; cursor: grab } svg { display: block; width: 100% }
.axis { display: flex; justify-content: space-between; background: #f4f4f4; font-size: 12px }
line { vector-effect: non-scaling-stroke; stroke-width: 1 }
.row { stroke: #ddd } .request { stroke: #47a } .answer { stroke: #9bd } .hello { stroke: #bbb }
.failure { stroke: #e80 } line.operation { stroke: #2a2; stroke-dasharray: 2 3 }
line.fault { stroke: #a3c; stroke-dasharray: 5 3 } line.wrong { stroke: #d00; stroke-width: 3 }
rect.down { fill: #333; opacity: .55 } rect.paused { fill: #cc8; opacity: .8 }
table { font: 12px monospace; margin: 1em 0; border-spacing: .8em 0 } tr { cursor: pointer }
tr.operation td { color: #272 } tr.fault td { color: #727 } tr.wrong td { color: #d00; font-weight: bold }
td:first-child { text-align: right } td { vertical-align: top }
</style>
"#;

const LEGEND: &str = "<p>Blue: questions; light blue: answers; orange: failures. Green: a program asks for \
    something. Violet: faults. Red: something is found wrong. Dark: a node is down; sand: it stands still. \
    Turn the wheel to zoom, drag to move, double-click for all of it; a line of the table shows its \
    moment. Times are seconds.</p>\n";

const SCRIPT: &str = r#"<script>
document.querySelectorAll(".world").forEach(world => {
  const svg = world.querySelector("svg"), axis = world.querySelector(".axis");
  const box = svg.viewBox.baseVal, all = +svg.dataset.all;
  const show = (x, width) => {
    box.width = Math.min(Math.max(width, 0.05), all);
    box.x = Math.min(Math.max(x, 0), all - box.width);
    axis.replaceChildren(...[0, 1, 2, 3, 4, 5].map(fifth => {
      const span = document.createElement("span");
      span.textContent = ((box.x + box.width * fifth / 5) / 1000).toFixed(box.width < 5000 ? 5 : 1);
      return span;
    }));
  };
  const at = event => {
    const frame = svg.getBoundingClientRect();
    return (event.clientX - frame.left) / frame.width;
  };
  svg.addEventListener("wheel", event => {
    event.preventDefault();
    const factor = event.deltaY > 0 ? 1.25 : 0.8;
    show(box.x + box.width * at(event) * (1 - factor), box.width * factor);
  }, { passive: false });
  let from = null;
  svg.addEventListener("mousedown", event => { from = at(event); event.preventDefault(); });
  addEventListener("mouseup", () => { from = null; });
  svg.addEventListener("mousemove", event => {
    if (from === null) return;
    const to = at(event);
    show(box.x - (to - from) * box.width, box.width);
    from = to;
  });
  svg.addEventListener("dblclick", () => show(0, all));
  world.nextElementSibling.addEventListener("click", event => {
    const row = event.target.closest("tr");
    if (row) { show(+row.dataset.at - 500, 1000); world.scrollIntoView(); }
  });
  show(box.x, box.width);
});
</script>
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Profile;
    use crate::run::{Watch, watch_plan};

    #[test]
    fn a_page_shows_who_was_down_and_what_is_wrong() {
        let plan = Plan::draw(3, &Profile::default());
        let mut outcome = watch_plan(&plan, Watch { records: true, lines: None });
        let hash = outcome.hash.expect("it does not panic");
        assert_eq!(outcome.records.len(), 2);
        assert!(outcome.records[0].said.len() > 500, "messages are recorded");
        let crashes = outcome.records[0].marks.iter().filter(|mark| mark.kind == MarkKind::Down).count();
        outcome.wrong.push("<b>lost</b>".into());
        let page = html(&plan, &outcome);
        assert!(page.contains("&lt;b&gt;lost") && !page.contains("<b>lost"), "texts are escaped");
        assert!(page.matches("<rect class=down").count() >= crashes, "each crash is seen");
        assert!(page.contains("server9") && page.contains("writer2"), "every node has its row");
        // Who watches changes nothing.
        assert_eq!(crate::run::run_plan(&plan).hash, Some(hash));
    }
}
