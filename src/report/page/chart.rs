//! Drawings.

use jiff::Timestamp;
use maud::{Markup, html};

use super::grouped;
use crate::report::{
    LEVELS,
    timeline::{Bar, Gap},
    told::Bars,
};

/// The drawing's size, and where in it the bars stand.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = WIDTH - 8.0;
const ALERTS: Panel = Panel { top: 22.0, bottom: 150.0 };
const EVENTS: Panel = Panel { top: 182.0, bottom: 244.0 };
/// Most times that are written below.
const TICKS_MAX: usize = 6;

/// Where some bars stand.
#[derive(Clone, Copy)]
struct Panel {
    top: f64,
    bottom: f64,
}

impl Panel {
    fn y(self, count: u64, most: u64) -> f64 {
        self.bottom - (self.bottom - self.top) * count as f64 / most.max(1) as f64
    }
}

/// From a time to a place in the drawing.
struct Scale {
    from_s: f64,
    length_s: f64,
}

impl Scale {
    fn x(&self, at: Timestamp) -> f64 {
        let part = (at.as_second() as f64 - self.from_s) / self.length_s;
        LEFT + (RIGHT - LEFT) * part.clamp(0.0, 1.0)
    }
}

/// Alerts by severity over time, and the events below them. Times without events are shaded.
pub(super) fn timeline(all: &Bars, gaps: &[Gap]) -> Markup {
    let bars = &all.bars;
    let from_s = bars.first().map_or(0.0, |it| it.from.as_second() as f64);
    let scale = Scale { from_s, length_s: all.bar_seconds as f64 * bars.len().max(1) as f64 };
    let width = (RIGHT - LEFT) / bars.len().max(1) as f64;
    let alerts = |it: &Bar| it.alerts.iter().sum::<u64>();
    let most_alerts = round_up(bars.iter().map(alerts).max().unwrap_or_default());
    let most_events = round_up(bars.iter().map(|it| it.events).max().unwrap_or_default());
    html! {
        svg.timeline viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img"
            aria-label="Alerts by severity, and events, over time" {
            @for gap in gaps { (shade(gap, &scale)) }
            (axis(ALERTS, most_alerts, "alerts"))
            (axis(EVENTS, most_events, "events"))
            @for bar in bars {
                @let x = scale.x(bar.from);
                g {
                    title { (told(bar)) }
                    // So that the whole of it shows the title.
                    rect.ground x=(place(x)) y=(ALERTS.top) width=(place(width)) height=(EVENTS.bottom - ALERTS.top) {}
                    (stack(bar, most_alerts, x, width))
                    @if bar.events > 0 { (block("events", EVENTS, (0, bar.events), most_events, (x, width))) }
                }
            }
            (ticks(bars, &scale))
        }
    }
}

/// The alerts of a bar: the worst at the bottom.
fn stack(bar: &Bar, most: u64, x: f64, width: f64) -> Markup {
    let mut below = 0;
    let parts = LEVELS.iter().zip(bar.alerts).filter(|(_, count)| *count > 0);
    let parts = parts.map(|(level, count)| {
        below += count;
        block(level.name(), ALERTS, (below - count, below), most, (x, width))
    });
    html! { @for part in parts { (part) } }
}

fn block(
    class: &str,
    panel: Panel,
    (from, to): (u64, u64),
    most: u64,
    (x, width): (f64, f64),
) -> Markup {
    let (top, bottom) = (panel.y(to, most), panel.y(from, most));
    // One alert among thousands is seen, too.
    let height = (bottom - top).max(1.0);
    // A little air between bars, if they are wide enough for it.
    let air = if width > 4.0 { 1.0 } else { 0.0 };
    html! {
        rect class=(class) x=(place(x)) y=(place(bottom - height)) width=(place(width - air)) height=(place(height)) {}
    }
}

fn shade(gap: &Gap, scale: &Scale) -> Markup {
    let (from, to) = (scale.x(gap.from), scale.x(gap.to));
    html! {
        rect.gap x=(place(from)) y=(ALERTS.top) width=(place((to - from).max(1.0))) height=(EVENTS.bottom - ALERTS.top) {}
    }
}

/// Lines at nothing, half and all, with their numbers.
fn axis(panel: Panel, most: u64, name: &str) -> Markup {
    html! {
        text.label x=(LEFT) y=(panel.top - 8.0) { (name) }
        @for count in [0, most / 2, most] {
            @let y = panel.y(count, most);
            line.grid x1=(LEFT) x2=(RIGHT) y1=(place(y)) y2=(place(y)) {}
            // Half of an odd number is no number of events.
            @if count == 0 || count == most || most.is_multiple_of(2) {
                text.tick x=(LEFT - 8.0) y=(place(y + 4.0)) text-anchor="end" { (grouped(count)) }
            }
        }
    }
}

fn ticks(bars: &[Bar], scale: &Scale) -> Markup {
    let step = bars.len().div_ceil(TICKS_MAX).max(1);
    let is_days = scale.length_s > 3.0 * 24.0 * 60.0 * 60.0;
    let format = if is_days { "%Y-%m-%d" } else { "%m-%d %H:%M" };
    html! {
        @for bar in bars.iter().step_by(step) {
            text.tick x=(place(scale.x(bar.from))) y=(HEIGHT - 8.0) { (bar.from.strftime(format).to_string()) }
        }
    }
}

/// What a bar stands for.
fn told(bar: &Bar) -> String {
    let mut text = format!("{}: {} events", super::second(bar.from), grouped(bar.events));
    for (level, count) in LEVELS.iter().zip(bar.alerts).filter(|(_, count)| *count > 0) {
        text.push_str(&format!(", {} {}", grouped(count), level.name()));
    }
    text
}

/// A bar beside a number.
pub(super) fn bar(count: u64, most: u64, class: &str) -> Markup {
    let width = 100.0 * count as f64 / most.max(1) as f64;
    html! {
        svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" {
            @if count > 0 { rect class=(class) width=(place(width.max(0.5))) height="10" {} }
        }
    }
}

/// The next 1, 2 or 5 with zeros.
fn round_up(count: u64) -> u64 {
    let mut unit = 1_u64;
    loop {
        for times in [1, 2, 5] {
            let round = unit.saturating_mul(times);
            if round >= count {
                return round;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

fn place(at: f64) -> String {
    format!("{at:.2}")
}
