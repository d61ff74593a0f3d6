"""MLflow's ``models`` names: the signature's inference, and the line that names a source file's model."""

from sparkml_lifecycle.flavors.python_model import set_model
from sparkml_lifecycle.model.signature import Signature, infer_signature

ModelSignature = Signature

__all__ = ["ModelSignature", "Signature", "infer_signature", "set_model"]
