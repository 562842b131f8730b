"""The classic networks of CIFAR distillation papers, and two recurrent ones.

Importing this package registers them in timm: `timm.create_model("cifar_resnet56",
num_classes=100)` works as for any timm model. The networks are written from their papers'
definitions, in the shapes that RepDistiller (Tian et al., ICLR 2020, arXiv:1910.10699) made
common. The module docstring of each file lists the pinned choices and the differences from the
paper. No network has weights on the hub.

Parameters have the names of public checkpoints. A test checks this for chenyaofo's CIFAR ResNets.
The other names follow RepDistiller's (except for MobileNetV2); no RepDistiller checkpoint was
available for a check.
"""

from benchmark.models.zoo import mobilenet, recurrent, resnet, shufflenet, vgg, wrn

__all__ = ["mobilenet", "recurrent", "resnet", "shufflenet", "vgg", "wrn"]
