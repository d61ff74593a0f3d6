"""MLflow's ``models.signature`` names."""

from sparkml_lifecycle.model.signature import Signature, infer_signature

ModelSignature = Signature

__all__ = ["ModelSignature", "Signature", "infer_signature"]
