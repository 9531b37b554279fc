//! Convolutional networks and chains from config.json.

use super::*;

#[test]
fn resnet_and_efficientnet_convolutions() {
    let resnet = [
        ("bn1.running_mean", &[64][..], DType::F32),
        ("bn1.running_var", &[64], DType::F32),
        ("bn1.weight", &[64], DType::F32),
        ("bn1.num_batches_tracked", &[], DType::I64),
        ("conv1.weight", &[64, 3, 7, 7], DType::F32),
        ("fc.weight", &[10, 128], DType::F32),
        ("layer1.0.conv1.weight", &[64, 64, 3, 3], DType::F32),
        ("layer1.0.conv2.weight", &[64, 64, 3, 3], DType::F32),
        ("layer2.0.conv1.weight", &[128, 64, 3, 3], DType::F32),
        ("layer2.0.downsample.0.weight", &[128, 64, 1, 1], DType::F32),
    ];
    let m = model_of(&resnet, Value::Null);
    assert_eq!(m.blocks(), 2, "two stages of one block each are two blocks");
    assert_eq!(m.layers[0].name, "conv1");
    assert_eq!(m.layers.last().unwrap().name, "fc");
    assert_eq!(named(&m, "fc").role, Role::Head);
    let others: Vec<&str> = m.not_weights.iter().map(|(id, _)| m.tensors[*id].name.as_str()).collect();
    assert_eq!(others, ["bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked"]);
    let conv = named(&m, "layer2.0.conv1");
    assert_eq!((conv.matrix, conv.role, conv.macs), ([128, 576], Role::Convolution, None), "no image size, no work");
    assert_eq!(
        m.params(),
        resnet
            .iter()
            .filter(|t| !t.0.contains("running") && !t.0.contains("num"))
            .map(|t| t.1.iter().product::<usize>() as u64)
            .sum::<u64>()
    );

    let efficient = [
        ("_blocks.0._depthwise_conv.weight", &[32, 1, 3, 3][..], DType::F32),
        ("_blocks.0._project_conv.weight", &[16, 32, 1, 1], DType::F32),
        ("_blocks.10._expand_conv.weight", &[96, 16, 1, 1], DType::F32),
        ("_blocks.2._expand_conv.weight", &[96, 16, 1, 1], DType::F32),
        ("_conv_head.weight", &[128, 96, 1, 1], DType::F32),
        ("_conv_stem.weight", &[32, 3, 3, 3], DType::F32),
        ("_fc.weight", &[10, 128], DType::F32),
    ];
    let m = model_of(&efficient, Value::Null);
    assert_eq!(order(&m)[0], "_conv_stem");
    assert_eq!(&order(&m)[5..], ["_conv_head", "_fc"]);
    assert_eq!(named(&m, "_blocks.10._expand_conv").block, Some(10));
    assert_eq!(named(&m, "_blocks.0._depthwise_conv").matrix, [32, 9]);
}

#[test]
fn a_sequential_config_gives_order_geometry_and_work() {
    let tensors = [
        ("a.weight", &[10, 32][..], DType::F32),
        ("z.bias", &[8], DType::F32),
        ("z.weight", &[8, 1, 3, 3], DType::F32),
    ];
    let config = json!({"model_type": "sequential", "input": {"shape": [1, 4, 4]}, "layers": [
        {"type": "conv2d", "weight": "z.weight", "bias": "z.bias", "padding": 1},
        {"type": "relu"}, {"type": "max_pool2d", "kernel_size": 2}, {"type": "flatten"},
        {"type": "linear", "weight": "a.weight"}]});
    let m = model_of(&tensors, config);
    assert_eq!(order(&m), ["z", "a"]);
    let conv = named(&m, "z");
    assert_eq!(conv.conv.unwrap().output, [4, 4]);
    assert_eq!(conv.macs, Some(8 * 9 * 16));
    assert_eq!(conv.uses, Some(16));
    assert_eq!(conv.extra_params, 8);
    assert_eq!(named(&m, "a").role, Role::Head);
    assert!(architecture::is_chain(&m));
    assert_eq!(m.macs(), 8 * 9 * 16 + 320);
}

#[test]
fn chains_are_told_from_what_is_none() {
    let tensors = [("a.weight", &[8, 8][..], DType::F32)];
    let with = |layer: Value| {
        let linear = json!({"type": "linear", "weight": "a.weight"});
        let config = json!({"model_type": "sequential", "input": {"shape": [8]}, "layers": [linear, layer]});
        architecture::why_no_product(&model_of(&tensors, config))
    };
    assert_eq!(with(json!({"type": "relu"})), None);
    assert_eq!(with(json!({"type": "leaky_relu", "negative_slope": 0.2})), None);
    assert!(with(json!({"type": "leaky_relu", "negative_slope": -3.0})).is_some());
    assert!(with(json!({"type": "gelu"})).is_some(), "GELU's slope exceeds 1");
    assert!(with(json!({"type": "batch_norm"})).unwrap().contains("batch normalisation"));
    assert!(with(json!({"type": "max_pool2d", "kernel_size": 3, "stride": 2})).is_some(), "windows overlap");
    assert!(with(json!({"type": "novel"})).unwrap().contains("novel"));
    assert!(
        architecture::why_no_product(&model_of(&tensors, json!({"model_type": "llama"}))).unwrap().contains("llama")
    );
    assert!(architecture::why_no_product(&model_of(&tensors, Value::Null)).is_some());
}
