# The evaluation: every figure of the virtines paper, of this machine beside its authors' data.
# SPDX-License-Identifier: MIT
