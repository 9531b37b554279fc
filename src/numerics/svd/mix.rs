//! Rotations of neighbouring rows and columns, so that entries that coincide do not round alike.
//!
//! The error estimate of `trust.rs` counts on rounding errors that do not line up. Where many entries are equal, or
//! few different ones are, sums of them round in the same direction again and again: a constant matrix of order 1024
//! would get an error of 1e-5 of its norm. Rotating pairs of rows and pairs of columns by angles that differ changes no
//! singular value and leaves no two entries alike, at the price of one rounding of each entry.

use super::isa::{Isa, Kernel};
use super::real::Real;
use faer::MatMut;

/// Rotates pairs of rows and pairs of columns of a matrix stored column by column. The angles of columns depend on
/// their number alone, so that stretches of rows of one matrix stay rows of one matrix.
pub fn mix<T: Real>(mut a: MatMut<'_, T>, isa: Isa) {
    if !T::MIXES || a.nrows() == 0 {
        return;
    }
    let of_rows: Vec<[f64; 2]> = (0..a.nrows() / 2).map(angle).collect();
    for pair in 0..a.ncols() / 2 {
        let (left, right) = a.as_mut().subcols_mut(2 * pair, 2).split_at_col_mut(1);
        let (Some(left), Some(right)) =
            (left.col_mut(0).try_as_col_major_mut(), right.col_mut(0).try_as_col_major_mut())
        else {
            return;
        };
        let (left, right) = (left.as_slice_mut(), right.as_slice_mut());
        isa.run(Turn { left, right, of_rows: &of_rows, of_columns: angle(pair) });
    }
    // An odd column has no partner, but its rows turn like those of the others.
    let cols = a.ncols();
    if !cols.is_multiple_of(2)
        && let Some(last) = a.col_mut(cols - 1).try_as_col_major_mut()
    {
        let mut alone = vec![T::ZERO; last.nrows()];
        isa.run(Turn { left: last.as_slice_mut(), right: &mut alone, of_rows: &of_rows, of_columns: [1.0, 0.0] });
    }
}

/// Cosine and sine of an angle that belongs to a pair: multiples of the golden angle, none of which repeats.
fn angle(pair: usize) -> [f64; 2] {
    let angle = 2.399_963_229_728_653 * (pair as f64 + 0.5);
    [angle.cos(), angle.sin()]
}

struct Turn<'a, T> {
    left: &'a mut [T],
    right: &'a mut [T],
    of_rows: &'a [[f64; 2]],
    of_columns: [f64; 2],
}

impl<T: Real> Kernel for Turn<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let [c, s] = self.of_columns;
        let turn = |x: f64, y: f64| (c * x + s * y, c * y - s * x);
        let (left, left_rest) = self.left.as_chunks_mut::<2>();
        let (right, right_rest) = self.right.as_chunks_mut::<2>();
        for ((l, r), [c, s]) in left.iter_mut().zip(right).zip(self.of_rows) {
            let (a, b) = turn(l[0].wide(), r[0].wide());
            let (x, y) = turn(l[1].wide(), r[1].wide());
            *l = [T::narrow(c * a + s * x), T::narrow(c * x - s * a)];
            *r = [T::narrow(c * b + s * y), T::narrow(c * y - s * b)];
        }
        for (l, r) in left_rest.iter_mut().zip(right_rest) {
            let (a, b) = turn(l.wide(), r.wide());
            (*l, *r) = (T::narrow(a), T::narrow(b));
        }
    }
}
