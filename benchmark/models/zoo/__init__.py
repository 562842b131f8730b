"""The classic nets of CIFAR distillation papers, and two recurrent ones; importing this package registers them in timm.

Afterwards `timm.create_model("cifar_resnet56", num_classes=100)` works as for any timm model. The nets are written from
their papers' definitions, in the shapes that RepDistiller (Tian et al., ICLR 2020, arXiv:1910.10699) made common; each
file's header says what is pinned, and where its nets differ from the paper. None has weights at the hub.

Parameters are named as in public checkpoints. Those of chenyaofo's CIFAR ResNets fit, which a test checks; for the
others RepDistiller's names were the pattern (MobileNetV2 excepted), and none of its files was at hand to try.
"""

from benchmark.models.zoo import mobilenet, recurrent, resnet, shufflenet, vgg, wrn

__all__ = ["mobilenet", "recurrent", "resnet", "shufflenet", "vgg", "wrn"]
