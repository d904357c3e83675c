"""Compiled kernels on disk: what names one (`key`), where they lie (`store`), how kernels get variants (`shelf`)."""
