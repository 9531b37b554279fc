//! Which axis is the outputs', and groups of convolutions.

use super::*;

#[test]
fn transposed_convolutions_are_not_read_as_outputs_first() {
    let m = model_of(
        &[
            ("neck.conv.weight", &[64, 32, 3, 3], DType::F32),
            ("output_upscaling.0.weight", &[64, 16, 2, 2], DType::F32),
            ("output_upscaling.0.bias", &[16], DType::F32),
            ("up.3.weight", &[64, 16, 2, 2], DType::F32),
            ("up.3.bias", &[16], DType::F32),
        ],
        Value::Null,
    );
    for name in ["output_upscaling.0", "up.3"] {
        assert!(why(&m, name).contains("inputs first"), "{name}: {}", why(&m, name));
        assert!(!named(&m, name).measurable());
    }
    assert!(named(&m, "neck.conv").eligible());
}

#[test]
fn groups_follow_from_the_channels_before_and_stay_unknown_in_doubt() {
    let conv = |shape: &'static [usize], before: usize| {
        let first = [before, 3, 3, 3];
        let m = model_of(&[("c1.weight", &first, DType::F32), ("c2.weight", shape, DType::F32)], Value::Null);
        assert_eq!(named(&m, "c1").groups, Some(1));
        named(&m, "c2").groups
    };
    assert_eq!(conv(&[32, 1, 3, 3], 32), Some(32));
    assert_eq!(conv(&[32, 8, 3, 3], 16), Some(2));
    assert_eq!(conv(&[32, 16, 3, 3], 16), Some(1));
    assert_eq!(conv(&[32, 24, 3, 3], 16), None, "inputs from elsewhere");
}

#[test]
fn bare_projections_are_inputs_first() {
    let m = model_of(
        &[
            ("text_projection", &[64, 32], DType::F32),
            ("visual.proj", &[48, 32], DType::F32),
            ("visual_projection.weight", &[32, 48], DType::F32),
        ],
        Value::Null,
    );
    assert_eq!((named(&m, "text_projection").matrix, named(&m, "visual.proj").matrix), ([32, 64], [32, 48]));
    assert_eq!(named(&m, "visual_projection").matrix, [32, 48]);
}

#[test]
fn other_frameworks_say_their_layout_in_the_metadata() {
    let tensors = [
        ("encoder.layer.0.attention.self.query.kernel", &[64, 32][..], DType::F32),
        ("encoder.layer.0.output.LayerNorm.scale", &[64], DType::F32),
        ("stem.conv.kernel", &[3, 3, 3, 16], DType::F32),
    ];
    let mut m = model_of(&tensors, Value::Null);
    m.metadata.insert("format".into(), "flax".into());
    let m = m.from_header();
    let query = named(&m, "encoder.layer.0.attention.self.query");
    assert_eq!((query.role, query.matrix, query.orientation), (Role::Query, [32, 64], Orientation::InOut));
    assert!(why(&m, "stem.conv").contains("Flax"));
    let mut mlx =
        model_of(&[("conv.weight", &[16, 3, 3, 8], DType::F32), ("fc.weight", &[8, 16], DType::F32)], Value::Null);
    mlx.metadata.insert("format".into(), "mlx".into());
    let mlx = mlx.from_header();
    assert!(why(&mlx, "conv").contains("MLX") && named(&mlx, "fc").eligible());
}
