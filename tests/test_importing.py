"""Networks of other packages as .vael files: their scores, and what cannot be taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

import torch
from torch import Tensor, nn

import vaelocity
from vaelocity.cli import main
from vaelocity.explain import reference_of
from vaelocity.importing import UnsupportedNode, onnx_file, pyod_detector, pythae_state

D = 12
ACTIVATIONS: list[nn.Module] = [
    nn.Identity(), nn.ReLU(), nn.LeakyReLU(0.2), nn.Tanh(), nn.Sigmoid(), nn.ELU(), nn.SiLU(),
    nn.GELU(), nn.ReLU(inplace=True),
]  # fmt: skip


def rows(n: int = 300) -> np.ndarray:
    x = np.random.default_rng(0).normal(2.0, 3.0, size=(n, D))
    return x.astype(np.float32)


def trained_norm(module: nn.Module) -> nn.Module:
    """Batch norms with statistics and gains as after training, dropout and all, in eval mode."""
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            for tensor in (part.running_mean, part.running_var, part.weight, part.bias):
                assert tensor is not None
                tensor.data.uniform_(0.5, 1.5, generator=generator)
    return module.eval()


def network(activation: nn.Module) -> nn.Module:
    torch.manual_seed(3)
    return trained_norm(
        nn.Sequential(
            nn.Linear(D, 8),
            nn.BatchNorm1d(8),
            activation,
            nn.Dropout(0.3),
            nn.Linear(8, 3),
            nn.Linear(3, 8, bias=False),
            activation,
            nn.BatchNorm1d(8),
            nn.Linear(8, D),
        )
    )


def expected(module: nn.Module, x: np.ndarray) -> np.ndarray:
    """1/2 ||module(x) - x||^2 in float64."""
    double = module.double()
    with torch.no_grad():
        y = double(torch.from_numpy(x).double()).numpy()
    module.float()
    return 0.5 * np.square(y - x).sum(axis=1)


class Variational(nn.Module):
    """A VAE that samples in eval mode as well, in one of the usual spellings."""

    def __init__(self, spelling: str) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.spelling = spelling
        self.encoder = nn.Sequential(nn.Linear(D, 8), nn.Tanh())
        self.both = nn.Linear(8, 6)
        self.mu, self.logvar = nn.Linear(8, 3), nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 3))
        self.decoder = nn.Sequential(nn.Linear(3, 8), nn.ELU(), nn.Linear(8, D))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.encoder(x)
        if self.spelling == "heads":
            mu, logvar = self.mu(h), self.logvar(h)
        elif self.spelling == "chunk":
            mu, logvar = self.both(h).chunk(2, dim=-1)
        elif self.spelling == "split":
            mu, logvar = torch.split(self.both(h), 3, dim=1)
        else:
            both = self.both(h)
            mu, logvar = both[:, :3], both[:, 3:]
        std = torch.exp(0.5 * logvar.clamp(-20, 20))
        return self.decoder(mu + std * torch.randn_like(std)), mu, logvar


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
def test_a_torch_autoencoder_scores_as_before(activation: nn.Module, tmp_path: Path) -> None:
    module, x = network(activation).train(), rows()
    scorer = vaelocity.freeze(module, x, tmp_path / "m.vael")
    assert module.training
    np.testing.assert_allclose(scorer.score(x), expected(module.eval(), x), rtol=1e-5)
    assert vaelocity.load(tmp_path / "m.vael").n_features == D


def test_scaling_and_names_and_thresholds_travel(tmp_path: Path) -> None:
    module, x = network(nn.ReLU()), rows()
    mean, scale = x.mean(axis=0), x.std(axis=0)
    names = [f"pt{j}" for j in range(D)]
    scorer = vaelocity.freeze(
        module,
        torch.from_numpy(x),
        tmp_path / "m.vael",
        mean=mean,
        scale=scale,
        feature_names=names,
        thresholds=lambda s: [s.threshold_for(x, fpr=0.1, name="loose")],
    )
    np.testing.assert_allclose(scorer.score(x), expected(module, (x - mean) / scale), rtol=1e-5)
    assert scorer.feature_names == names
    assert scorer.predict(x, "loose").sum() == 30
    assert scorer.identity is not None
    assert scorer.thresholds["loose"].model == scorer.identity


@pytest.mark.parametrize("spelling", ["heads", "chunk", "split", "slices"])
def test_a_torch_vae_scores_at_mu(spelling: str, tmp_path: Path) -> None:
    module, x = Variational(spelling).eval(), rows()
    scorer = vaelocity.freeze(module, x, tmp_path / "m.vael", kind="kl")
    with torch.no_grad():
        _, mu, logvar = module(torch.from_numpy(x))
        y = module.decoder(mu).numpy()
    kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(dim=1).numpy()
    np.testing.assert_allclose(scorer.score(x), kl, rtol=1e-5, atol=1e-6)
    reconstruction = vaelocity.load(tmp_path / "m.vael", kind="reconstruction").score(x)
    np.testing.assert_allclose(reconstruction, 0.5 * np.square(y - x).sum(axis=1), rtol=1e-5)
    mu2 = vaelocity.load(tmp_path / "m.vael", kind="mu2").score(x)
    np.testing.assert_allclose(mu2, mu.square().sum(dim=1).numpy(), rtol=1e-5, atol=1e-6)


class Halved(Variational):
    """Writes into a view of mu and logvar, which an exported graph shows as a copy."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        both = self.both(self.encoder(x))
        both[:, 3:].mul_(0.5)
        mu, logvar = both.chunk(2, dim=1)
        return self.decoder(mu), mu, logvar


def test_a_latent_space_that_was_read_wrong_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"disagrees with the original .*: kl "):
        vaelocity.freeze(Halved("chunk").eval(), rows(), tmp_path / "m.vael")
    assert not list(tmp_path.iterdir())


class Returns(nn.Module):
    """A VAE whose results come in any order and nesting."""

    def __init__(self, give: Callable[[Tensor, Tensor, Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.inner, self.give = Variational("heads"), give

    def forward(self, x: Tensor) -> Any:
        return self.give(x, *self.inner(x))


@pytest.mark.parametrize(
    ("give", "outputs"),
    [
        (lambda x, y, mu, logvar: (y, x.sum()), ("reconstruction", "ignore")),
        (lambda x, y, mu, logvar: ((mu, logvar), y), ("mu", "logvar", "reconstruction")),
        (
            lambda x, y, mu, logvar: {"y": y, "mu": mu, "more": (logvar, x.sum())},
            ("reconstruction", "mu", "logvar", "ignore"),
        ),
    ],
)
def test_results_are_taken_by_the_names_that_are_given(
    give: Callable[..., Any], outputs: tuple[str, ...], tmp_path: Path
) -> None:
    module, x = Returns(give).eval(), rows()
    scorer = vaelocity.freeze(module, x, tmp_path / "m.vael", outputs=outputs)
    with torch.no_grad():
        y = module.inner.decoder(module.inner.mu(module.inner.encoder(torch.from_numpy(x))))
    exact = 0.5 * np.square(y.numpy() - x).sum(axis=1)
    np.testing.assert_allclose(scorer.score(x), exact, rtol=1e-5)
    assert ("mu2" in scorer.kinds) == ("mu" in outputs)


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x) + self.inner(x)


class Chooses(Branches):
    """What it does depends on the data."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return y if y.sum() > 0 else -y


class Scales(nn.Module):
    """Uses exp(x) for something else than noise."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(D, 3), nn.Linear(3, D)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.outer(torch.exp(self.inner(x)))
        return y


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (
            nn.Sequential(nn.Linear(D, 3), nn.Softmax(1), nn.Linear(3, D)),
            "softmax .* in 1: no step",
        ),
        (nn.Sequential(nn.Linear(D, 3), nn.ELU(0.5), nn.Linear(3, D)), "alpha 0.5, expected 1"),
        (nn.Sequential(nn.Linear(D, 3), nn.GELU("tanh"), nn.Linear(3, D)), "approximation 'tanh'"),
        (Branches(), "neither is computed from the other"),
        (Scales(), "exp .* may only scale random noise"),
    ],
)
def test_an_unsupported_node_is_named(module: nn.Module, said: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedNode, match=said):
        vaelocity.freeze(module, rows(), tmp_path / "m.vael")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"example": rows()[:0]}, "example: expected rows"),
        ({"example": rows() * np.nan}, "example: a value is NaN"),
        ({"kind": "kl"}, "kind: expected one of reconstruction, got 'kl'"),
        ({"mean": [1.0]}, "mean: expected 12 finite numbers"),
        ({"scale": np.zeros(D)}, "a scale is not positive"),
        ({"feature_names": ["a"] * D}, "12 different names"),
        ({"outputs": ["mu"]}, "reconstruction among them"),
        ({"outputs": "reconstruction"}, "outputs: expected 1 names"),
        ({"example": rows()[:, :5]}, r"example: the module does not take rows \[n, 5\]"),
        ({"example": np.full((3, D), 1e300)}, "example: a value is NaN or infinite, or beyond"),
        ({"module": network(nn.ReLU()).double()}, "module: expected float32, 0.weight is"),
        ({"module": Chooses()}, "module: torch.export cannot read it"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], said: str, tmp_path: Path) -> None:
    given = {"module": network(nn.ReLU()), "example": rows(), **arguments}
    with pytest.raises(ValueError, match=said):
        vaelocity.freeze(path=tmp_path / "m.vael", **given)
    with pytest.raises(TypeError, match=r"expected a torch.nn.Module, got str"):
        vaelocity.freeze("m", rows(), tmp_path / "m.vael")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


class Spelled(nn.Module):
    """An autoencoder with one expression in its middle: of h [n, 4], w [4, 4] and v [4]."""

    def __init__(self, middle: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.inner, self.outer, self.middle = nn.Linear(D, 4), nn.Linear(4, D), middle
        self.matrix, self.vector = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.rand(4) + 1)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.inner(x))
        y: Tensor = self.outer(self.middle(h, self.matrix, self.vector))
        return y


SPELLINGS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "flatten": lambda h, w, v: h.flatten(1),
    "view": lambda h, w, v: h.view(-1, 4),
    "reshape": lambda h, w, v: h.reshape(len(h), 4),
    "clone": lambda h, w, v: h.clone().contiguous(),
    "to": lambda h, w, v: h.to(h.dtype),
    "addmm": lambda h, w, v: torch.addmm(v, h, w),
    "mm": lambda h, w, v: h.mm(w),
    "matmul": lambda h, w, v: h @ w.t(),
    "permute": lambda h, w, v: h @ w.permute(1, 0),
    "T": lambda h, w, v: h @ w.T,
    "add": lambda h, w, v: torch.add(h, v, alpha=2),
    "add_": lambda h, w, v: h.clone().add_(v),
    "sub": lambda h, w, v: h - v,
    "sub_": lambda h, w, v: h.clone().sub_(v),
    "mul": lambda h, w, v: h * v * 1.5,
    "mul_": lambda h, w, v: h.clone().mul_(v),
    "div": lambda h, w, v: h / v,
    "div_": lambda h, w, v: h.clone().div_(3.0),
    "split with sizes": lambda h, w, v: torch.split(h @ w, [4], dim=1)[0],
    "in place": lambda h, w, v: nn.functional.relu_(nn.functional.elu(h @ w, inplace=True)),
    "leaky": lambda h, w, v: nn.functional.leaky_relu(h @ w, 0.3, inplace=True),
    "silu": lambda h, w, v: nn.functional.silu(h @ w, inplace=True),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_what_torch_spells_in_many_ways(name: str, tmp_path: Path) -> None:
    module, x = Spelled(SPELLINGS[name]).eval(), rows()
    scorer = vaelocity.freeze(module, x, tmp_path / "m.vael")
    np.testing.assert_allclose(scorer.score(x), expected(module, x), rtol=1e-5)


def test_a_product_with_factors_of_its_own_is_refused(tmp_path: Path) -> None:
    module = Spelled(lambda h, w, v: torch.addmm(v, h, w, beta=2)).eval()
    with pytest.raises(UnsupportedNode, match=r"addmm .*: beta=2"):
        vaelocity.freeze(module, rows(), tmp_path / "m.vael")


def onnx_graph(path: Path, opset: int, *nodes: Any) -> Path:
    """rows [n, D] -> h [n, 6] -> nodes from "h" to "z" [n, 3] -> y [n, D]."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, rng = onnx.helper, np.random.default_rng(7)
    weights = {"a": (D, 6), "b": (3, D)}
    constants = [
        onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["rows", "a"], ["h"]),
            *nodes,
            helper.make_node("MatMul", ["z", "b"], ["y"]),
        ],
        "made", [helper.make_tensor_value_info("rows", kind, ["n", D])],
        [helper.make_tensor_value_info("y", kind, ["n", D])], constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("opset", "inputs", "attributes", "outputs"),
    [
        (11, (), {"split": [3, 3]}, 2),
        (11, (), {"split": [2, 3, 1]}, 3),
        (13, (), {}, 2),
        (18, (), {"num_outputs": 2}, 2),
    ],
)
def test_a_split_of_any_opset(
    opset: int, inputs: tuple[str, ...], attributes: dict[str, Any], outputs: int, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    names = [f"part{i}" for i in range(outputs)]
    wide = names[1] if outputs == 3 else names[0]
    split = onnx.helper.make_node("Split", ["h", *inputs], names, axis=1, **attributes)
    model = onnx_graph(
        tmp_path / "m.onnx", opset, split, onnx.helper.make_node("Tanh", [wide], ["z"])
    )
    x = rows()
    scorer = onnx_file(model, tmp_path / "m.vael", example=x)  # which compares the scores
    assert np.isfinite(scorer.score(x)).all()


def test_a_graph_with_a_fixed_batch_is_compared_all_the_same(tmp_path: Path) -> None:
    module, x = network(nn.Tanh()), rows(23)
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.zeros(7, D),), tmp_path / "m.onnx", dynamo=False, input_names=["rows"]
        )
    scorer = onnx_file(tmp_path / "m.onnx", tmp_path / "m.vael", example=x)
    np.testing.assert_allclose(scorer.score(x), expected(module, x), rtol=1e-5)


def to_onnx(module: nn.Module, path: Path, *outputs: str) -> Path:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter that needs no onnxscript is deprecated
        torch.onnx.export(
            module,
            (torch.zeros(2, D),),
            path,
            dynamo=False,
            input_names=["rows"],
            output_names=list(outputs),
            dynamic_axes={"rows": {0: "n"}},
            opset_version=20,
        )
    return path


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
def test_an_onnx_autoencoder_scores_as_before(activation: nn.Module, tmp_path: Path) -> None:
    module, x = network(activation), rows()
    model = to_onnx(module, tmp_path / "m.onnx", "y")
    scorer = onnx_file(model, tmp_path / "m.vael", example=x)
    np.testing.assert_allclose(scorer.score(x), expected(module, x), rtol=1e-5)


def test_an_onnx_vae(tmp_path: Path) -> None:
    module, x = Variational("slices").eval(), rows()
    model = to_onnx(module, tmp_path / "m.onnx", "y", "mu", "logvar")
    scorer = onnx_file(model, tmp_path / "m.vael", example=x, kind="mu2")
    with torch.no_grad():
        mu = module(torch.from_numpy(x))[1]
    np.testing.assert_allclose(scorer.score(x), mu.square().sum(1).numpy(), rtol=1e-5, atol=1e-6)


def test_made_up_rows_are_no_reference(tmp_path: Path) -> None:
    model, x = to_onnx(network(nn.ReLU()), tmp_path / "m.onnx", "y"), rows()
    onnx_file(model, tmp_path / "without.vael")
    onnx_file(model, tmp_path / "with.vael", example=x)
    assert reference_of(tmp_path / "without.vael") is None
    assert reference_of(tmp_path / "with.vael") is not None


def test_the_command_imports_what_was_trained_on_standardised_rows(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    module, x = network(nn.ReLU()), rows()
    model = to_onnx(module, tmp_path / "m.onnx", "y")
    names = [f"f{j}" for j in range(D)]
    table = tmp_path / "rows.csv"
    np.savetxt(table, x, delimiter=",", header=",".join(names), comments="", fmt="%.9g")
    out = tmp_path / "m.vael"
    command = ["import", str(model), "-o", str(out), "--example", str(table), "--standardize"]
    assert main([*command, "--outputs", "y"]) == 0
    assert f"{D} features" in capfd.readouterr().out
    scorer = vaelocity.load(out)
    assert list(scorer.feature_names) == names
    mean, scale = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    standard = ((x - mean) / scale).astype(np.float32)
    np.testing.assert_allclose(scorer.score(x), expected(module, standard), rtol=1e-4)

    assert main(["import", str(table), "-o", str(out)]) == 2
    assert "no ONNX model" in capfd.readouterr().err


def test_an_onnx_node_is_named_and_a_file_that_is_none(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(D, 3), nn.Softmax(1), nn.Linear(3, D))
    model = to_onnx(module, tmp_path / "m.onnx", "y")
    with pytest.raises(UnsupportedNode, match=r"node /1/Softmax \(Softmax\)"):
        onnx_file(model, tmp_path / "m.vael")
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(ValueError, match="no ONNX model"):
        onnx_file(tmp_path / "bad.onnx", tmp_path / "m.vael")
    assert not (tmp_path / "m.vael").exists()


# ---- PyOD and pythae


@pytest.mark.parametrize("preprocessing", [True, False])
def test_a_pyod_autoencoder(preprocessing: bool, tmp_path: Path, one_torch_thread: None) -> None:
    auto_encoder = pytest.importorskip("pyod.models.auto_encoder")
    x = rows()
    detector = auto_encoder.AutoEncoder(
        epoch_num=2, verbose=0, preprocessing=preprocessing, hidden_activation_name="tanh"
    )
    detector.fit(x)
    scorer = pyod_detector(detector, x, tmp_path / "m.vael")
    np.testing.assert_allclose(
        np.sqrt(2 * scorer.score(x)), detector.decision_function(x), rtol=1e-5
    )
    np.testing.assert_array_equal(scorer.predict(x, "pyod"), detector.labels_ == 1)


def test_a_pyod_vae_at_mu(tmp_path: Path, one_torch_thread: None) -> None:
    pyod_vae = pytest.importorskip("pyod.models.vae")
    x = rows()
    detector = pyod_vae.VAE(epoch_num=2, verbose=0, latent_dim=3).fit(x)
    scorer = pyod_detector(detector, x, tmp_path / "m.vael")
    # PyOD samples when it scores: without the noise it is the same score.
    detector.model.reparameterize = lambda mu, logvar: mu
    np.testing.assert_allclose(
        np.sqrt(2 * scorer.score(x)), detector.decision_function(x), rtol=1e-5
    )
    assert scorer.predict(x, "pyod").sum() == 30


def test_other_detectors_are_refused(tmp_path: Path) -> None:
    auto_encoder = pytest.importorskip("pyod.models.auto_encoder")
    with pytest.raises(TypeError, match=r"expected pyod.models.auto_encoder.AutoEncoder"):
        pyod_detector(object(), rows(), tmp_path / "m.vael")
    with pytest.raises(ValueError, match="was not fitted"):
        pyod_detector(auto_encoder.AutoEncoder(), rows(), tmp_path / "m.vael")


@pytest.mark.parametrize("name", ["AE", "VAE"])
def test_pythae_weights(name: str, tmp_path: Path) -> None:
    models = pytest.importorskip("pythae.models")
    x = np.random.default_rng(0).uniform(size=(200, D)).astype(np.float32)
    config = getattr(models, f"{name}Config")(input_dim=(D,), latent_dim=3)
    model = getattr(models, name)(config).eval()
    scorer = pythae_state(model.state_dict(), x, tmp_path / "m.vael")
    with torch.no_grad():
        z = model.encoder(torch.from_numpy(x)).embedding
        y = model.decoder(z).reconstruction.numpy()
    np.testing.assert_allclose(scorer.score(x), 0.5 * np.square(y - x).sum(axis=1), rtol=1e-5)
    assert ("kl" in scorer.kinds) == (name == "VAE")
    state = {**model.state_dict(), "encoder.conv.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"encoder.conv.weight is no tensor of pythae"):
        pythae_state(state, x, tmp_path / "other.vael")
    with pytest.raises(ValueError, match="expected a pythae AE or VAE"):
        pythae_state({}, x, tmp_path / "other.vael")
