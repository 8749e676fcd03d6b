//! The page of `dolphin bench tick-to-order --html`: percentile curves, hops as stacked bars, the sweep. One file, no
//! script, nothing loaded from elsewhere.

use std::fmt::Write as _;

use bench::report::{Figure, PathReport, Report};
use bench::ways::Path;
use node::summary::time;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 300.0;
const COLOURS: [&str; 12] = [
    "#1b6ca8", "#e07a1f", "#2e9e5b", "#c0392b", "#7d5ba6", "#8c6d46", "#d16ba5", "#6b7280", "#b5a642",
    "#2aa8a8", "#4b5fc1", "#94a3b8",
];

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The page.
pub fn page(report: &Report) -> String {
    let mut out = String::from(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>dolphin: tick to order</title>\n<style>\
         body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:920px;color:#1f2937;background:#fff}\
         h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}pre{background:#f3f4f6;padding:1rem;overflow:auto;font-size:12px}\
         table{border-collapse:collapse;font-size:13px}td,th{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #e5e7eb}\
         td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}.key{display:inline-block;margin-right:1rem}\
         .dot{display:inline-block;width:.8em;height:.8em;margin-right:.3em}\
         @media(prefers-color-scheme:dark){body{background:#111827;color:#e5e7eb}pre{background:#1f2937}td,th{border-color:#374151}}\
         </style></head><body>\n",
    );
    let transport = if report.wire { "loopback sockets" } else { "in memory" };
    let _ = writeln!(out, "<h1>Tick to order: {} symbols, {transport}</h1>", report.symbols);
    let _ = writeln!(out, "<pre>{}{}</pre>", escape(&report.machine.text()), escape(&report.placed));
    for run in &report.runs {
        let _ = writeln!(out, "<h2>×{} of the recorded rate</h2>", run.rate);
        let paths: Vec<(&str, &PathReport)> = Path::ALL
            .into_iter()
            .filter_map(|p| Some((p.name(), run.paths.get(p.key())?)))
            .filter(|(_, p)| p.wire.n > 0)
            .collect();
        let curves: Vec<(&str, &Figure)> = paths.iter().map(|(name, p)| (*name, &p.wire)).collect();
        curve(&curves, &mut out);
        paths.iter().for_each(|(name, p)| bar(name, p, &mut out));
    }
    sweep(report, &mut out);
    let _ = writeln!(out, "<h2>As printed</h2><pre>{}</pre></body></html>", escape(&report.text()));
    out
}

/// Percentiles over 1/(1 − q), both axes logarithmic.
fn curve(all: &[(&str, &Figure)], out: &mut String) {
    let values = || all.iter().flat_map(|(_, f)| &f.curve).map(|(_, v)| (*v).max(1) as f64);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    if high <= 0.0 {
        let _ = writeln!(out, "<p>No order was measured.</p>");
        return;
    }
    let (low, high) = (low.log10().floor(), high.log10().ceil().max(low.log10().floor() + 1.0));
    let longest = all.iter().map(|(_, f)| f.curve.len()).max().unwrap_or(1).max(2) - 1;
    let (left, top, width, height) = (70.0, 10.0, WIDTH - 90.0, HEIGHT - 50.0);
    let x = |i: usize| left + width * i as f64 / longest as f64;
    let y = |v: f64| top + height * (1.0 - (v.max(1.0).log10() - low) / (high - low));
    let _ = write!(out, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"percentiles\">");
    for decade in low as i32..=high as i32 {
        let ns = 10f64.powi(decade);
        let at = y(ns);
        let _ = write!(
            out,
            "<line x1=\"{left}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#9ca3af\" stroke-width=\".5\"/><text x=\"{}\" y=\"{:.1}\" font-size=\"11\" text-anchor=\"end\" fill=\"currentColor\">{}</text>",
            left + width,
            left - 6.0,
            at + 4.0,
            time(ns as u64)
        );
    }
    for i in 0..=longest {
        let q = (1.0 - 0.5f64.powi(i as i32)) * 100.0;
        let digits = if i < 7 { 1 } else { 3 };
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{}\" font-size=\"10\" text-anchor=\"middle\" fill=\"currentColor\">{q:.digits$}</text>",
            x(i),
            HEIGHT - 20.0
        );
    }
    for (n, (_, figure)) in all.iter().enumerate() {
        let points: Vec<String> = figure
            .curve
            .iter()
            .enumerate()
            .map(|(i, (_, v))| format!("{:.1},{:.1}", x(i), y(*v as f64)))
            .collect();
        let colour = COLOURS[n % COLOURS.len()];
        let _ = write!(
            out,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
            points.join(" ")
        );
    }
    let _ =
        writeln!(out, "</svg><p>percentile, wire to wire: {}</p>", keys(all.iter().map(|(name, _)| *name)));
}

fn keys<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let key = |(n, name): (usize, &str)| {
        let colour = COLOURS[n % COLOURS.len()];
        format!(
            "<span class=\"key\"><span class=\"dot\" style=\"background:{colour}\"></span>{}</span>",
            escape(name)
        )
    };
    names.enumerate().map(key).collect()
}

/// The means of the hops, side by side.
fn bar(name: &str, path: &PathReport, out: &mut String) {
    let parts: Vec<_> = path.hops.iter().filter(|h| h.share > 0.0).collect();
    let _ = writeln!(
        out,
        "<h3>{}: mean {} on the wire (n {})</h3><svg viewBox=\"0 0 {WIDTH} 40\" role=\"img\" aria-label=\"hops\">",
        escape(name),
        time(path.wire.mean as u64),
        path.wire.n
    );
    let mut x = 0.0;
    for (n, hop) in parts.iter().enumerate() {
        let width = WIDTH * hop.share;
        let (colour, title) = (COLOURS[n % COLOURS.len()], escape(&hop.name));
        let _ = write!(
            out,
            "<rect x=\"{x:.1}\" y=\"4\" width=\"{width:.1}\" height=\"32\" fill=\"{colour}\"><title>{title}: mean {}, {:.1} %</title></rect>",
            time(hop.figure.mean as u64),
            hop.share * 100.0
        );
        x += width;
    }
    let names: Vec<String> = parts.iter().map(|h| format!("{} {:.1} %", h.name, h.share * 100.0)).collect();
    let _ = writeln!(out, "</svg><p>{}</p>", keys(names.iter().map(String::as_str)));
}

fn sweep(report: &Report, out: &mut String) {
    let _ = writeln!(
        out,
        "<h2>Load sweep, boundary → entry, from the scheduled time</h2><table><tr><th>rate</th><th>frames/s</th><th>ticks</th><th>n</th><th>bytes p50</th><th>p99</th><th>wire p50</th><th>p99</th><th>kept</th></tr>"
    );
    for r in &report.runs {
        let none = PathReport::default();
        let e = r.paths.get(Path::Entry.key()).unwrap_or(&none);
        let _ = writeln!(
            out,
            "<tr><td>×{}</td><td>{:.0}</td><td>{}/{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            r.rate,
            r.frames_per_s,
            r.ticks,
            r.ticks_expected,
            e.within.n,
            time(e.within_response.p50),
            time(e.within_response.p99),
            time(e.wire_response.p50),
            time(e.wire_response.p99),
            escape(r.saturated.as_deref().unwrap_or("yes"))
        );
    }
    let _ = writeln!(out, "</table>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_stands_alone_and_shows_names_as_text() {
        let mut report = Report { placed: "<core>".to_owned(), ..Report::default() };
        let mut run = bench::report::RunReport { rate: 2.0, ..Default::default() };
        let figure = Figure {
            n: 4,
            p50: 1500,
            curve: vec![(0.0, 900), (0.5, 1500), (0.75, 2000)],
            ..Figure::default()
        };
        let hop = bench::report::Hop { name: "decode".to_owned(), figure: figure.clone(), share: 0.4 };
        run.paths
            .insert("entry".to_owned(), PathReport { wire: figure, hops: vec![hop], ..Default::default() });
        report.runs.push(run);
        let page = page(&report);
        assert!(
            page.contains("&lt;core&gt;") && page.contains("<polyline") && page.contains("decode 40.0 %")
        );
        assert!(!page.contains("http") && !page.contains("<script"), "it loads nothing");
    }
}
