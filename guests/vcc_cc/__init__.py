# The modules of vcc.
# SPDX-License-Identifier: MIT
