"""What the functions of torch do to a tensor, by their names, as far as it is followed here."""

from __future__ import annotations

CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})
TRANSPOSED = frozenset({"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"})
PRODUCTS = frozenset({"matmul", "mm", "bmm", "__matmul__", "__rmatmul__"})
BOXES = frozenset(
    {"lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"}
    | {"multi_head_attention_forward"}
)
"""Functions that hold weights and activations of their own, not looked into."""
RECTIFIERS = frozenset(
    {"relu", "relu_", "relu6", "clamp", "clamp_", "clamp_min", "clamp_min_", "threshold", "threshold_"}
    | {"gelu", "silu", "silu_", "elu", "elu_", "selu", "selu_", "hardswish", "leaky_relu", "leaky_relu_"}
    | {"celu", "mish", "softplus", "prelu", "rrelu"}
)
SQUASHERS = frozenset({"sigmoid", "sigmoid_", "tanh", "tanh_", "hardtanh", "hardtanh_", "hardsigmoid"})
ACTIVATIONS = RECTIFIERS | SQUASHERS | {"softmax", "log_softmax", "logsigmoid", "glu", "erf", "softsign"}
SHAPES = frozenset(
    {"view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "transpose", "permute", "t"}
    | {"contiguous", "clone", "movedim", "swapaxes", "to", "float", "double", "view_as", "squeeze_"}
    | {"unsqueeze_", "transpose_", "reshape_as", "type_as", "alias", "ravel", "detach", "__get__"}
)
PARTS = frozenset(
    {"__getitem__", "select", "narrow", "chunk", "split", "index_select"}
    | {f"{kind}_pool{n}d" for kind in ("max", "avg", "adaptive_avg", "adaptive_max") for n in (1, 2, 3)}
)
ARITHMETIC = frozenset(
    {"add", "sub", "mul", "div", "rsub", "true_divide", "add_", "sub_", "mul_", "div_", "neg"}
    | {f"__{kind}{name}__" for kind in ("", "r", "i") for name in ("add", "sub", "mul", "truediv")}
)
"""What leaves units the units that they were, where nothing but the model's own tensors comes in."""
DROPS = frozenset({"dropout", "dropout1d", "dropout2d", "dropout3d", "dropout_", "alpha_dropout"})
NORMS = frozenset({"batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm"})
