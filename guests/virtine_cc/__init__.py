# What virtine-cc is made of, an idea in each module; the program calls main.main().
# SPDX-License-Identifier: MIT
