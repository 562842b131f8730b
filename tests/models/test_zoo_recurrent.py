"""The zoo's recurrent networks: what they read, and their operations."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.models.zoo_nets import RECURRENT, build, images, macs, parameter_count, same_state


@pytest.mark.parametrize("name", RECURRENT)
class TestRowReader:
    def test_parameters_and_macs_are_those_of_the_formula(self, name):
        net = build(name)
        assert (parameter_count(net), macs(net)) == RECURRENT[name]

        gates = {"row_lstm": 4, "row_gru": 3}[name]
        weights = gates * 128 * (96 + 128)
        biases = 2 * gates * 128
        assert RECURRENT[name] == (weights + biases + 12_900, 32 * weights + 12_800)

    @pytest.mark.parametrize("layers", [1, 2])
    def test_the_macs_are_the_same_with_gradients(self, name, layers):
        net = build(name, num_layers=layers)
        expected = macs(net)
        counter = FlopCounterMode(display=False)
        with counter:
            net.train()(images(1))
        assert counter.get_total_flops() == 2 * expected

    @pytest.mark.parametrize(("height", "width", "channels"), [(8, 8, 3), (12, 5, 1), (5, 12, 3)])
    def test_the_output_is_that_of_a_cell_that_steps_through_the_rows(
        self, name, height, width, channels
    ):
        options = {"img_size": (height, width), "in_chans": channels}
        net = build(name, hidden_size=16, num_classes=4, **options).eval()
        cell = {"row_lstm": nn.LSTMCell, "row_gru": nn.GRUCell}[name](channels * width, 16)
        weights = {key.removesuffix("_l0"): value for key, value in net.rnn.state_dict().items()}
        cell.load_state_dict(weights)

        batch = images(3, channels, height, width)
        state = None
        with torch.no_grad():
            for row in range(height):
                inputs = torch.cat([batch[:, channel, row] for channel in range(channels)], dim=1)
                state = cell(inputs, state)
            hidden = state[0] if name == "row_lstm" else state
            embedding = net.forward_head(net.forward_features(batch), pre_logits=True)
            torch.testing.assert_close(embedding, hidden)
            torch.testing.assert_close(net(batch), net.fc(hidden))

    def test_the_order_of_rows_matters(self, name):
        net = build(name).eval()
        batch = images()
        with torch.no_grad():
            difference = net(batch) - net(batch.flip(2))
        assert difference.abs().max() > 1e-3

    def test_a_later_row_changes_no_earlier_state(self, name):
        net = build(name).eval()
        batch = images()
        changed = batch.clone()
        changed[:, :, 20:] = 0
        with torch.no_grad():
            before = net.forward_features(batch)
            after = net.forward_features(changed)
        assert before.shape == (2, 32, 128)
        assert torch.equal(before[:, :20], after[:, :20])
        assert not torch.equal(before[:, 20:], after[:, 20:])

    @pytest.mark.parametrize("layers", [1, 3])
    def test_a_gradient_reaches_every_parameter_and_every_row(self, name, layers):
        net = build(name, num_layers=layers, hidden_size=24, img_size=16).train()
        batch = images(4, 3, 16, 16).requires_grad_()
        logits = net(batch)
        weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
        (logits * weights).sum().backward()
        assert all(parameter.grad.abs().max() > 0 for parameter in net.parameters())
        assert (batch.grad.abs().sum(dim=(0, 1, 3)) > 0).all()

    def test_size_and_layers_are_as_asked_for(self, name):
        options = {"img_size": 28, "in_chans": 1, "num_classes": 10}
        net = build(name, hidden_size=20, num_layers=2, **options).eval()
        assert (net.rnn.hidden_size, net.rnn.num_layers, net.rnn.input_size) == (20, 2, 28)

        batch = images(2, 1, 28, 28)
        with torch.no_grad():
            states = net.rnn(batch[:, 0])[1]
            top = (states[0] if name == "row_lstm" else states)[-1]
            embedding = net.forward_head(net.forward_features(batch), pre_logits=True)
        assert torch.equal(embedding, top)

    def test_images_of_another_size_are_refused(self, name):
        with pytest.raises(ValueError, match="images of 3x32x30: this net reads 3x32x32"):
            build(name)(images(2, 3, 32, 30))

    def test_there_are_no_feature_maps(self, name):
        assert not hasattr(build(name), "forward_intermediates")
        with pytest.raises(RuntimeError, match="no feature maps"):
            build(name, features_only=True)

    def test_the_classifier_can_be_replaced_and_removed(self, name):
        net = build(name).eval()
        net.reset_classifier(5)
        assert net(images()).shape == (2, 5)
        assert net.get_classifier() is net.fc
        net.reset_classifier(0)
        assert net(images()).shape == (2, 128)

    def test_initial_weights_come_from_torchs_global_seed(self, name):
        net = build(name, seed=0)
        assert same_state(net, build(name, seed=0))

        state = net.state_dict()
        other = build(name, seed=1).state_dict()
        assert not any(torch.equal(value, other[key]) for key, value in state.items())


def test_the_macs_of_cudnns_recurrent_kernel_are_counted():
    def blank(*shape):
        return torch.empty(*shape, device="meta")

    weights = [blank(512, 96), blank(512, 128), blank(512), blank(512)]
    state = blank(1, 2, 128)
    sizes = (4, None, state, state, 2, 128, 0, 1)
    flags = (True, 0.0, False, False, [], None)
    counter = FlopCounterMode(display=False)
    with counter:
        torch.ops.aten._cudnn_rnn(blank(2, 32, 96), weights, *sizes, *flags)
    assert counter.get_total_flops() == 2 * 2 * 32 * 512 * (96 + 128)
