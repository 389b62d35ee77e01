//! Documents of what is no audit event: lines of the control plane, and pieces that came along with others.

use jiff::Timestamp;

use super::{
    Labels, Line, Piece, Scratch, Settings, TAG_UNWRAP_FAILED, control_plane,
    ecs::{self, Stays},
    overlay::Overlay,
};

/// Writes the document of a line.
pub fn write_line(
    line: &Line<'_>,
    labels: &Labels<'_>,
    settings: &Settings,
    now: Timestamp,
    scratch: &mut Scratch,
    out: &mut String,
) {
    let overlay = &mut scratch.overlay;
    overlay.clear();
    let way = line.way;
    let time = way.envelope.time.as_deref().and_then(|it| it.parse().ok());
    let told = control_plane::parse(line.text, time.or_else(|| ecs::timestamp(way.base)));
    if told.at.is_none() {
        ecs::envelope_time(way, now, overlay);
    }
    control_plane::fill(line.component, &told, overlay);
    overlay.text(&["orchestrator", "type"], "kubernetes");
    ecs::envelope(way, overlay);
    if settings.preserve_original {
        overlay.text(&["event", "original"], line.text);
    }
    ecs::data_stream(labels, now, overlay);
    overlay.merge(Stays::of(way).filter(|it| !control_plane::clashes(it)), out);
}

/// Writes the document of a piece: what was around it, and its text as `message`.
pub fn write_piece(piece: &Piece<'_>, now: Timestamp, scratch: &mut Scratch, out: &mut String) {
    let overlay: &mut Overlay = &mut scratch.overlay;
    overlay.clear();
    overlay.text(&["message"], piece.text);
    ecs::envelope_time(piece.way, now, overlay);
    ecs::envelope(piece.way, overlay);
    if let Some(reason) = piece.broken {
        ecs::tags(piece.way.base, &[TAG_UNWRAP_FAILED], overlay);
        overlay.text(&["error", "message"], reason.message());
    }
    overlay.merge(Stays::of(piece.way), out);
}
