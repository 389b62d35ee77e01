//! Whatever a document is: it ends in parts that are sound, and a second k8scop makes the same of them. Byte 0 chooses
//! the settings, the rest is the document.

#![no_main]

use k8scop::json;
use k8scop_fuzz::{
    chosen,
    parts::{INFLATED_BYTES_MAX, again, checked, settings},
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((flags, document)) = chosen(data) else { return };
    // A line of a bulk body.
    let Some(document) = std::str::from_utf8(document).ok().filter(|it| !it.contains('\n')) else {
        return;
    };
    if json::object(document, json::DEPTH_MAX, &mut Vec::new()).is_err() {
        return;
    }
    let settings = settings(flags);
    let inflated_max = if flags & 64 == 0 { INFLATED_BYTES_MAX } else { 64 };
    again(&checked(document, &settings, inflated_max), &settings);
});
