"""Images: strict decoding, MATLAB-compatible bicubic, PSNR and SSIM."""
