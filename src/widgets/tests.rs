use super::*;

#[test]
fn a_text_that_is_too_long_says_so_and_fits() {
    assert_eq!(fit("down_proj", 20), "down_proj");
    assert_eq!(fit("down_proj", 5), "down…");
    assert_eq!(fit_end("model.layers.0.down_proj", 10), "…down_proj");
    assert_eq!(fit("abc", 0), "");
    for room in 0..12 {
        assert!(width(&fit("維度abc維度", room)) <= room, "{room}");
        assert!(width(&fit_end("維度abc維度", room)) <= room, "{room}");
    }
}

#[test]
fn writing_outside_the_buffer_does_nothing() {
    let mut buf = Buffer::empty(Rect::new(2, 2, 4, 1));
    for (x, y) in [(0, 2), (9, 2), (3, 0), (3, 7)] {
        put(&mut buf, x, y, 100, "xyz", Style::default());
    }
    assert_eq!(buf, Buffer::empty(Rect::new(2, 2, 4, 1)));
    put(&mut buf, 3, 2, 5, "xyz", Style::default());
    assert_eq!(buf.content.iter().map(ratatui::buffer::Cell::symbol).collect::<String>(), " xy ");
}
