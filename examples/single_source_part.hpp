// What single_source.cpp calls in a file of the guest's own.
// SPDX-License-Identifier: MIT
#pragma once

int part(int x);
