//! Names cut to a width so that no two of them look alike.

use super::width;
use std::collections::HashMap;

/// Cuts names to `room` columns with `cut`; those of one group that would look alike keep some of their beginning and
/// are cut in the middle.
pub fn apart(names: &[(Option<usize>, &str)], room: usize, cut: impl Fn(&str, usize) -> String) -> Vec<String> {
    let mut out: Vec<String> = names.iter().map(|(_, name)| cut(name, room)).collect();
    for head in 1..room.saturating_sub(1) {
        let mut seen: HashMap<(Option<usize>, &str), Vec<usize>> = HashMap::new();
        for (i, (group, _)) in names.iter().enumerate() {
            seen.entry((*group, out[i].as_str())).or_default().push(i);
        }
        let alike = |members: &&Vec<usize>| members.iter().any(|&i| names[i].1 != names[members[0]].1);
        let clash: Vec<usize> = seen.values().filter(alike).flatten().copied().collect();
        if clash.is_empty() {
            break;
        }
        for i in clash.into_iter().filter(|&i| width(names[i].1) > room) {
            out[i] = middle(names[i].1, room, head);
        }
    }
    out
}

/// `beg…of a name`: so many characters of its beginning, and as much of its end as fits.
fn middle(name: &str, room: usize, head: usize) -> String {
    let begin: String = name.chars().take(head).collect();
    let mut left = room.saturating_sub(width(&begin) + 1);
    let mut tail = Vec::new();
    for c in name.chars().rev() {
        let wide = width(c.encode_utf8(&mut [0; 4]));
        if wide > left {
            break;
        }
        left -= wide;
        tail.push(c);
    }
    begin.chars().chain(std::iter::once('…')).chain(tail.into_iter().rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::widgets::fit_end;

    #[test]
    fn names_of_one_block_never_look_alike() {
        let names = ["attention.output.dense", "output.dense", "self_attn.q_proj", "encoder_attn.q_proj", "fc"];
        for room in 6..30 {
            let list: Vec<(Option<usize>, &str)> = names.iter().map(|n| (Some(0), *n)).collect();
            let cut = apart(&list, room, fit_end);
            let distinct: std::collections::HashSet<&String> = cut.iter().collect();
            assert_eq!(distinct.len(), names.len(), "{room}: {cut:?}");
            assert!(cut.iter().all(|c| width(c) <= room), "{room}: {cut:?}");
        }
        let cut = apart(&[(Some(0), "self_attn.q_proj"), (Some(1), "cross_attn.q_proj")], 8, fit_end);
        assert_eq!(cut[0], cut[1], "of other blocks they may");
    }
}
